//! Firmware for an RP2040 as it lies in flash.

use super::error::TwinError;
use object::elf::{FileHeader32, PF_W, PT_LOAD};
use object::read::elf::{ElfFile32, FileHeader, ProgramHeader};
use object::Endianness;
use std::path::Path;

/// Where flash begins, as the processor sees it.
const FLASH: u32 = 0x1000_0000;
/// How much of it there is on a pico-ice.
const FLASH_SIZE: u32 = 4 << 20;

/// What firmware takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of flash: code, constants, and what variables begin with.
    pub flash: u32,
    /// Of memory: variables, without the stack.
    pub memory: u32,
}

/// Firmware, ready for flash.
#[derive(Clone, Debug)]
pub struct Firmware {
    flash: Vec<u8>,
    size: Size,
}

impl Firmware {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// If it cannot be read, or is not for an RP2040.
    pub fn open(path: &Path) -> Result<Self, TwinError> {
        let wrong = |reason: String| TwinError::Firmware {
            file: path.to_owned(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&bytes).map_err(wrong)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = |error: object::Error| error.to_string();
        let file = ElfFile32::<Endianness>::parse(bytes).map_err(text)?;
        let endian = file.endian();
        let header: &FileHeader32<Endianness> = file.elf_header();
        if header.e_machine(endian) != object::elf::EM_ARM {
            return Err("its processor is not an ARM".into());
        }
        let mut firmware = Firmware {
            flash: Vec::new(),
            size: Size::default(),
        };
        for segment in file.elf_program_headers() {
            if segment.p_type(endian) != PT_LOAD {
                continue;
            }
            let contents = segment
                .data(endian, bytes)
                .map_err(|()| "a segment lies outside the file")?;
            if segment.p_flags(endian) & PF_W != 0 {
                firmware.size.memory += segment.p_memsz(endian);
            }
            if !contents.is_empty() {
                firmware.put(segment.p_paddr(endian), contents)?;
            }
        }
        if firmware.flash.is_empty() {
            return Err("it puts nothing into flash".into());
        }
        Ok(firmware)
    }

    fn put(&mut self, address: u32, contents: &[u8]) -> Result<(), String> {
        let from = address
            .checked_sub(FLASH)
            .filter(|from| *from as usize + contents.len() <= FLASH_SIZE as usize)
            .ok_or_else(|| format!("it loads to {address:08x}, which is not flash"))?
            as usize;
        let to = from + contents.len();
        if self.flash.len() < to {
            self.flash.resize(to, 0xff);
        }
        self.flash[from..to].copy_from_slice(contents);
        self.size.flash += contents.len() as u32;
        Ok(())
    }

    /// The contents of flash from its beginning on.
    pub fn flash(&self) -> &[u8] {
        &self.flash
    }

    /// What it takes.
    pub fn size(&self) -> Size {
        self.size
    }
}
