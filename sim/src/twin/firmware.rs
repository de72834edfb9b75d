//! Firmware for an RP2040 or an RP2350 as it lies in flash, and as a file for its boot drive.

use super::error::TwinError;
use object::elf::{FileHeader32, PF_W, PT_LOAD};
use object::read::elf::{ElfFile32, FileHeader, ProgramHeader};
use object::Endianness;
use std::path::Path;

/// Where flash begins, as the processor sees it.
const FLASH: u32 = 0x1000_0000;
/// How much of it there is on a pico-ice.
const FLASH_SIZE: u32 = 4 << 20;

/// Bytes of flash in a block of a UF2 file.
const PAGE: usize = 256;

/// A microcontroller that comes up as a drive and takes UF2 files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// As on the pico-ice.
    Rp2040,
    /// As on the pico2-ice.
    Rp2350,
}

impl Chip {
    /// What tells its files from those of others.
    fn family(self) -> u32 {
        match self {
            Chip::Rp2040 => 0xe48b_ff56,
            Chip::Rp2350 => 0xe48b_ff59,
        }
    }
}

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

    /// The same as a UF2 file: blocks of 512 bytes, each of which says where its 256 bytes of
    /// flash go.
    pub fn uf2(&self, chip: Chip) -> Vec<u8> {
        let pages = self.flash.chunks(PAGE);
        let count = pages.len() as u32;
        let mut file = Vec::with_capacity(512 * count as usize);
        for (index, page) in (0..count).zip(pages) {
            let header = [
                0x0a32_4655,
                0x9e5d_5157,
                // A family is given.
                0x2000,
                FLASH + index * PAGE as u32,
                PAGE as u32,
                index,
                count,
                chip.family(),
            ];
            file.extend(header.iter().flat_map(|word: &u32| word.to_le_bytes()));
            file.extend(page);
            // The page's own rest is erased flash, the block's is zero.
            file.resize(file.len() + PAGE - page.len(), 0xff);
            file.resize(file.len() + 476 - PAGE, 0);
            file.extend(0x0ab1_6f30u32.to_le_bytes());
        }
        file
    }

    /// What it takes.
    pub fn size(&self) -> Size {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uf2_file_brings_every_byte_to_its_place() {
        let flash: Vec<u8> = (0..1000u32).map(|i| (i * 7 >> 2) as u8).collect();
        let firmware = Firmware {
            flash: flash.clone(),
            size: Size::default(),
        };
        let file = firmware.uf2(Chip::Rp2040);
        let word = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        let mut written = vec![0; 1024];
        let blocks = file.chunks(512);
        assert_eq!(blocks.len(), 4);
        for (index, block) in blocks.enumerate() {
            assert_eq!(block.len(), 512);
            assert_eq!(&block[..4], b"UF2\n");
            assert_eq!((word(block, 4), word(block, 508)), (0x9e5d_5157, 0x0ab1_6f30));
            assert_eq!((word(block, 8), word(block, 28)), (0x2000, 0xe48b_ff56));
            assert_eq!((word(block, 20), word(block, 24)), (index as u32, 4));
            let (at, length) = (word(block, 12) - FLASH, word(block, 16));
            written[at as usize..(at + length) as usize].copy_from_slice(&block[32..32 + length as usize]);
        }
        assert_eq!(written[..1000], flash);
        assert_eq!(written[1000..], [0xff; 24]);
    }

    #[test]
    fn what_is_no_firmware_is_refused() {
        for bytes in [&b""[..], b"UF2\n", &[0x7f; 600], b"\x7fELF\x01\x01\x01"] {
            assert!(Firmware::parse(bytes).is_err());
        }
        // This very program: an ELF file for another processor.
        let this = std::env::current_exe().unwrap();
        let refused = Firmware::open(&this).unwrap_err().to_string();
        assert!(refused.contains("is not firmware"), "{refused}");
    }
}
