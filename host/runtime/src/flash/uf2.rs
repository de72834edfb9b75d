//! UF2: firmware as blocks of 512 bytes that a microcontroller's boot drive takes, in any order.

use super::elf::Segment;

/// Bytes of firmware in a block: a page of flash.
const PAYLOAD: usize = 256;
/// Bytes of a block.
pub const BLOCK: usize = 512;
/// What stands at both ends of a block.
const MAGIC: [u32; 3] = [0x0a32_4655, 0x9e5d_5157, 0x0ab1_6f30];
/// The block names the microcontroller that it is for.
const HAS_FAMILY: u32 = 0x2000;

/// A kind of microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RP2040.
    Rp2040,
    /// RP2350, Arm, secure.
    Rp2350,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::Rp2040, Family::Rp2350];

    /// Its number in the format.
    pub const fn id(self) -> u32 {
        match self {
            Family::Rp2040 => 0xe48b_ff56,
            Family::Rp2350 => 0xe48b_ff59,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Rp2040 => "RP2040",
            Family::Rp2350 => "RP2350",
        }
    }
}

/// The file that holds these segments: pages that hold none of their bytes are left out, and
/// what a page holds beside them is zero.
pub fn write(segments: &[Segment], family: Family) -> Vec<u8> {
    let mut pages = std::collections::BTreeMap::new();
    for segment in segments {
        for (address, &byte) in (u64::from(segment.address)..).zip(&segment.bytes) {
            let (page, at) = (address / PAYLOAD as u64, address % PAYLOAD as u64);
            pages.entry(page).or_insert([0; PAYLOAD])[at as usize] = byte;
        }
    }
    let count = pages.len() as u32;
    let block = |(number, (page, bytes)): (u32, (u64, [u8; PAYLOAD]))| {
        let head = [
            MAGIC[0],
            MAGIC[1],
            HAS_FAMILY,
            (page * PAYLOAD as u64) as u32,
            PAYLOAD as u32,
            number,
            count,
            family.id(),
        ];
        let mut block: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        block.extend(bytes);
        block.resize(BLOCK - 4, 0);
        block.extend(MAGIC[2].to_le_bytes());
        block
    };
    (0..).zip(pages).flat_map(block).collect()
}

/// What a file's blocks put where, if [`family`] has found it sound: addresses and bytes.
pub fn contents(file: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    file.chunks_exact(BLOCK).filter_map(|block| {
        let address = u32::from_le_bytes(*block.get(12..)?.first_chunk()?);
        let length = u32::from_le_bytes(*block.get(16..)?.first_chunk()?) as usize;
        Some((address, block.get(32..BLOCK - 4)?.get(..length)?))
    })
}

/// The microcontroller that a file is for.
///
/// # Errors
/// What is wrong with it.
pub fn family(file: &[u8]) -> Result<Family, &'static str> {
    if file.is_empty() || !file.len().is_multiple_of(BLOCK) {
        return Err("its length is not that of whole UF2 blocks");
    }
    let word = |block: &[u8], at: usize| {
        let bytes = block.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let mut found = None;
    for block in file.chunks_exact(BLOCK) {
        if [word(block, 0), word(block, 4), word(block, BLOCK - 4)] != MAGIC {
            return Err("a UF2 block is damaged");
        }
        let id = word(block, 28);
        let family = Family::ALL.into_iter().find(|family| family.id() == id);
        let family = family.ok_or("it is for another microcontroller than RP2040 and RP2350")?;
        if found.is_some_and(|found| found != family) {
            return Err("its UF2 blocks are for different microcontrollers");
        }
        found = Some(family);
    }
    found.ok_or("it is empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(address: u32, bytes: &[u8]) -> Segment {
        let bytes = bytes.to_vec();
        Segment { address, bytes }
    }

    #[test]
    fn pages_of_segments() {
        // Two segments that share a page, and one that crosses into a page of its own.
        let segments = [
            segment(0x1000_0000, &[1; 200]),
            segment(0x1000_00f0, &[2; 20]),
            segment(0x1000_0400, &[3; 1]),
        ];
        let file = write(&segments, Family::Rp2040);
        assert_eq!(file.len(), 3 * BLOCK);
        assert_eq!(family(&file), Ok(Family::Rp2040));
        let block = |i: usize| &file[i * BLOCK..][..BLOCK];
        assert_eq!(block(0)[..4], *b"UF2\n");
        assert_eq!(block(0)[12..16], 0x1000_0000u32.to_le_bytes());
        assert_eq!(
            block(0)[32..][..256],
            [[1; 200].as_slice(), &[0; 40], &[2; 16]].concat()
        );
        assert_eq!(block(1)[12..16], 0x1000_0100u32.to_le_bytes());
        assert_eq!(block(1)[32..][..5], [2, 2, 2, 2, 0]);
        assert_eq!(block(2)[12..16], 0x1000_0400u32.to_le_bytes());
        assert_eq!((block(2)[20], block(2)[24]), (2, 3));
        let found: Vec<(u32, &[u8])> = contents(&file).collect();
        let addresses: Vec<u32> = found.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses, [0x1000_0000, 0x1000_0100, 0x1000_0400]);
        assert_eq!(found[1].1, &block(1)[32..][..256]);
    }

    #[test]
    fn other_files_are_refused() {
        let mut file = write(&[segment(0x1000_0000, &[7; 600])], Family::Rp2350);
        assert_eq!(family(&file), Ok(Family::Rp2350));
        assert!(family(&[]).is_err());
        assert!(family(&file[1..]).is_err());
        file[BLOCK + 28] ^= 1;
        assert!(family(&file).is_err());
        file[BLOCK + 28] ^= 1;
        file[2 * BLOCK - 1] ^= 1;
        assert!(family(&file).is_err());
    }
}
