//! What an ELF of a microcontroller puts into its flash.

use nom::bytes::complete::{tag, take};
use nom::number::complete::{le_u16, le_u32};
use nom::{IResult, Parser};

/// Bytes and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Of the first byte.
    pub address: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Where the microcontrollers' flash is.
pub const FLASH: std::ops::Range<u32> = 0x1000_0000..0x1200_0000;
/// A program header of something that is loaded.
const LOAD: u32 = 1;
/// Arm.
const MACHINE: u16 = 40;

/// Whether a file begins as an ELF does.
pub fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// The bytes that belong into flash, by their load address.
///
/// # Errors
/// What is wrong with the file.
pub fn segments(file: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let (_, (machine, offset, size, count)) =
        header(file).map_err(|_| "it is no ELF of 32 bits, little-endian")?;
    if machine != MACHINE {
        return Err("it is not for an Arm microcontroller");
    }
    let mut segments = Vec::new();
    for i in 0..usize::from(count) {
        let at = offset as usize + i * usize::from(size);
        let truncated = "it is truncated: build it again";
        let entry = file.get(at..).ok_or(truncated)?;
        let (_, (kind, from, address, length)) = program(entry).map_err(|_| truncated)?;
        if kind != LOAD || length == 0 || !FLASH.contains(&address) {
            continue;
        }
        let end = (from as usize).checked_add(length as usize);
        let bytes = end.and_then(|end| file.get(from as usize..end));
        segments.push(Segment {
            address,
            bytes: bytes.ok_or(truncated)?.to_vec(),
        });
    }
    if segments.is_empty() {
        return Err("nothing in it belongs into flash");
    }
    Ok(segments)
}

/// Machine; offset, size and number of the program headers.
fn header(file: &[u8]) -> IResult<&[u8], (u16, u32, u16, u16)> {
    let identity = (tag("\x7fELF\x01\x01"), take(12usize));
    let (rest, (_, machine, _, offset, _, size, count)) = (
        identity,
        le_u16,
        take(8usize),
        le_u32,
        take(10usize),
        le_u16,
        le_u16,
    )
        .parse(file)?;
    Ok((rest, (machine, offset, size, count)))
}

/// Kind, place in the file, load address, bytes in the file.
fn program(entry: &[u8]) -> IResult<&[u8], (u32, u32, u32, u32)> {
    let (rest, (kind, from, _, address, length)) =
        (le_u32, le_u32, le_u32, le_u32, le_u32).parse(entry)?;
    Ok((rest, (kind, from, address, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF with one segment in flash and one in memory.
    fn elf() -> Vec<u8> {
        let mut file = b"\x7fELF\x01\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 40, 0]);
        let words: [u32; 4] = [1, 0x1000_0101, 52, 0];
        file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        file.extend([0; 4]);
        file.extend([52, 0, 32, 0, 2, 0]);
        file.resize(52, 0);
        for (from, virt, phys) in [
            (116u32, 0x2000_0000u32, 0x1000_0200u32),
            (116, 0x2000_0100, 0x2000_0100),
        ] {
            let words = [1, from, virt, phys, 4, 4, 5, 4];
            file.extend(words.iter().flat_map(|w: &u32| w.to_le_bytes()));
        }
        file.extend([9, 8, 7, 6]);
        file
    }

    #[test]
    fn what_goes_to_flash_by_load_address() {
        let (address, bytes) = (0x1000_0200, vec![9, 8, 7, 6]);
        assert_eq!(segments(&elf()), Ok(vec![Segment { address, bytes }]));
    }

    #[test]
    fn anything_else_is_refused() {
        let file = elf();
        for length in 0..file.len() {
            assert!(segments(&file[..length]).is_err(), "{length}");
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                // Nothing panics, whatever it is.
                let _ = segments(&damaged);
            }
        }
        let mut other = file;
        other[18] = 62;
        assert!(segments(&other).is_err());
    }
}
