//! What a board keeps in its microcontroller's flash, for when it starts without a host, and where.
//!
//! | from | room | |
//! | --- | --- | --- |
//! | 0 | 256 KiB | the firmware |
//! | 256 KiB | 128 KiB | bitstream |
//! | 384 KiB | 128 KiB | script ([`crate::script`]) |
//! | 512 KiB | 512 KiB | image |
//!
//! A place begins with a sector for its header: [`MAGIC`], which object this is, the object's
//! length and CRC-32, and the CRC-32 of these sixteen bytes, all little-endian. The object
//! follows in the next sector. The header is erased first and written last, so that an object
//! that was not stored to its end is none. Flash wears and can be written by others: whoever
//! reads an object checks its CRC.

use crate::crc::crc32;
use crate::wire::{Digest, Object};

/// Bytes that are erased at once.
pub const SECTOR: usize = 4096;
/// Bytes that are written at once.
pub const PAGE: usize = 256;
/// Bytes for the firmware.
pub const FIRMWARE: usize = 256 << 10;
/// Bytes of flash that a board needs to keep all of it.
pub const SIZE: usize = 1 << 20;
/// How every header begins.
pub const MAGIC: [u8; 4] = *b"ANF\x01";

const HEADER: usize = 20;

/// Where an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    object: Object,
    start: usize,
    end: usize,
}

impl Slot {
    /// Of an object.
    pub const fn of(object: Object) -> Self {
        let (start, end) = match object {
            Object::Bitstream => (FIRMWARE, 384 << 10),
            Object::Script => (384 << 10, 512 << 10),
            Object::Image => (512 << 10, SIZE),
        };
        Slot { object, start, end }
    }

    /// Where its header is, from the beginning of flash.
    pub const fn header(&self) -> usize {
        self.start
    }

    /// Where the object itself is.
    pub const fn contents(&self) -> usize {
        self.start + SECTOR
    }

    /// Bytes of the longest object that fits.
    pub const fn room(&self) -> usize {
        self.end - self.contents()
    }

    /// The page that the header is in.
    pub fn encode(&self, digest: Digest) -> [u8; PAGE] {
        let mut page = [0xff; PAGE];
        page[..4].copy_from_slice(&MAGIC);
        page[4..8].copy_from_slice(&(self.object as u32).to_le_bytes());
        page[8..12].copy_from_slice(&digest.length.to_le_bytes());
        page[12..16].copy_from_slice(&digest.crc.to_le_bytes());
        let crc = crc32(&page[..16]);
        page[16..HEADER].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// What is stored here, and the digest that it was stored with; whether its bytes are still
    /// good is the caller's to check. `flash` is all of it, from its beginning.
    pub fn decode<'a>(&self, flash: &'a [u8]) -> Option<(Digest, &'a [u8])> {
        let header = flash.get(self.header()..)?.first_chunk::<HEADER>()?;
        let word = |at: usize| {
            let bytes = header.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let digest = Digest {
            length: word(8)?,
            crc: word(12)?,
        };
        let ours = header.starts_with(&MAGIC)
            && word(4)? == self.object as u32
            && word(16)? == crc32(&header[..16])
            && digest.length as usize <= self.room();
        let bytes = flash.get(self.contents()..)?;
        bytes
            .get(..digest.length as usize)
            .filter(|_| ours)
            .map(|bytes| (digest, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_one_after_the_other() {
        let slots = [Object::Bitstream, Object::Script, Object::Image].map(Slot::of);
        let mut from = FIRMWARE;
        for slot in slots {
            assert_eq!(slot.header(), from);
            assert_eq!(slot.header() % SECTOR, 0);
            from = slot.contents() + slot.room();
        }
        assert_eq!(from, SIZE);
    }

    #[test]
    fn what_was_stored_is_found_until_its_header_is_damaged() {
        let slot = Slot::of(Object::Script);
        let text = b"a script";
        let mut flash = [0xff; 400 << 10];
        assert_eq!(slot.decode(&flash), None);
        let header = slot.encode(Digest::of(text));
        flash[slot.header()..][..PAGE].copy_from_slice(&header);
        flash[slot.contents()..][..text.len()].copy_from_slice(text);
        let found = (Digest::of(text), &text[..]);
        assert_eq!(slot.decode(&flash), Some(found));
        assert_eq!(slot.decode(&flash[..slot.contents() + 4]), None);
        for byte in 0..HEADER {
            let mut damaged = flash;
            damaged[slot.header() + byte] ^= 4;
            assert_eq!(slot.decode(&damaged), None, "byte {byte}");
        }
        let too_long = Digest {
            length: slot.room() as u32 + 1,
            crc: 0,
        };
        flash[slot.header()..][..PAGE].copy_from_slice(&slot.encode(too_long));
        assert_eq!(slot.decode(&flash), None);
    }
}
