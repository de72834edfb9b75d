//! The microcontroller's flash, written by the functions of its boot ROM.

use crate::storage::Flash;
use annulus_contract::flash::{PAGE, SECTOR, SIZE};
use core::slice;

/// Where flash is read as memory.
const MAPPED: *const u8 = 0x1000_0000 as *const u8;

/// Functions that write flash; they lie in the boot ROM, and the last one there or in RAM.
#[derive(Clone, Copy)]
pub struct RomFlash {
    /// Connects the flash to its pins.
    pub connect: unsafe extern "C" fn(),
    /// Ends reading it as memory.
    pub exit_xip: unsafe extern "C" fn(),
    /// Erases from an address, so many bytes, in blocks of this size, by this command.
    pub erase: unsafe extern "C" fn(u32, usize, u32, u8),
    /// Programs at an address, from there, so many bytes.
    pub program: unsafe extern "C" fn(u32, *const u8, usize),
    /// Forgets what was read of it.
    pub flush_cache: unsafe extern "C" fn(),
    /// Begins to read it as memory again.
    pub enter_xip: unsafe extern "C" fn(),
}

/// A block size and its command that the ROM does not use: it erases sector by sector.
const NO_BLOCKS: (u32, u8) = (1 << 31, 0);

impl Flash for RomFlash {
    fn bytes(&self) -> &[u8] {
        // Safety: this much of flash is there, always readable, and changes only through `&mut`.
        unsafe { slice::from_raw_parts(MAPPED, SIZE) }
    }

    fn erase(&mut self, at: usize) {
        change(*self, at as u32, None);
    }

    fn program(&mut self, at: usize, page: &[u8; PAGE]) {
        change(*self, at as u32, Some(*page));
    }
}

/// Erases a sector or programs a page. Between the two ends of it flash is no memory, so it lies in
/// RAM with all that it uses: functions by their addresses, and copies of what it is given. The
/// firmware has one core and no interrupts that could run in the meantime.
#[cfg_attr(target_os = "none", link_section = ".data.change_flash")]
#[inline(never)]
fn change(rom: RomFlash, at: u32, page: Option<[u8; PAGE]>) {
    // Safety: the functions are those that their names say, and are called in the order that the
    // data sheet gives.
    unsafe {
        (rom.connect)();
        (rom.exit_xip)();
        match &page {
            Some(page) => (rom.program)(at, page.as_ptr(), PAGE),
            None => (rom.erase)(at, SECTOR, NO_BLOCKS.0, NO_BLOCKS.1),
        }
        (rom.flush_cache)();
        (rom.enter_xip)();
    }
}
