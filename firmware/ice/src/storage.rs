//! What the board keeps in its microcontroller's flash: one object at a time on its way there,
//! as `annulus_contract::flash` lays it out.

use annulus_contract::flash::{Slot, PAGE, SECTOR};
use annulus_contract::wire::{Digest, Fault, Object};
use heapless::Vec;

/// A flash whose bits can be cleared one by one and set again by sectors.
pub trait Flash {
    /// All of it that the layout knows, from its beginning.
    fn bytes(&self) -> &[u8];

    /// Sets all bits of the sector that begins here.
    fn erase(&mut self, at: usize);

    /// Clears bits of the page that begins here.
    fn program(&mut self, at: usize, page: &[u8; PAGE]);
}

/// The objects in a flash.
pub struct Storage<F> {
    flash: F,
    storing: Option<Storing>,
}

/// An object on its way.
struct Storing {
    slot: Slot,
    digest: Digest,
    /// Where the next page goes.
    at: usize,
    page: Vec<u8, PAGE>,
}

impl<F: Flash> Storage<F> {
    /// What is in this flash.
    pub fn new(flash: F) -> Self {
        Storage {
            flash,
            storing: None,
        }
    }

    /// An object as it was stored.
    pub fn stored(&self, object: Object) -> Option<(Digest, &[u8])> {
        Slot::of(object).decode(self.flash.bytes())
    }

    /// Forgets an object.
    pub fn forget(&mut self, object: Object) {
        self.storing = None;
        self.flash.erase(Slot::of(object).header());
    }

    /// Forgets an object and begins to store another in its place.
    ///
    /// # Errors
    /// [`Fault::NoStorage`] if it does not fit.
    pub fn begin(&mut self, object: Object, digest: Digest) -> Result<(), Fault> {
        let slot = Slot::of(object);
        if digest.length as usize > slot.room() {
            return Err(Fault::NoStorage(object));
        }
        self.forget(object);
        self.storing = Some(Storing {
            slot,
            digest,
            at: slot.contents(),
            page: Vec::new(),
        });
        Ok(())
    }

    /// Stores the next bytes.
    ///
    /// # Errors
    /// [`Fault::NoUpload`] if nothing has been begun, [`Fault::Storage`] if it is more than that.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let storing = self.storing.as_mut().ok_or(Fault::NoUpload)?;
        let begun = storing.at - storing.slot.contents() + storing.page.len();
        if begun + bytes.len() > storing.digest.length as usize {
            return Err(Fault::Storage);
        }
        for &byte in bytes {
            // A full page leaves at once, so there is room.
            let _ = storing.page.push(byte);
            if storing.page.is_full() {
                storing.flush(&mut self.flash);
            }
        }
        Ok(())
    }

    /// Makes what was stored an object.
    ///
    /// # Errors
    /// [`Fault::NoUpload`] if nothing has been begun, [`Fault::Storage`] if it does not read back.
    pub fn end(&mut self) -> Result<(), Fault> {
        let mut storing = self.storing.take().ok_or(Fault::NoUpload)?;
        if !storing.page.is_empty() {
            storing.flush(&mut self.flash);
        }
        let header = storing.slot.encode(storing.digest);
        self.flash.program(storing.slot.header(), &header);
        let stored = storing.slot.decode(self.flash.bytes());
        match stored {
            Some((digest, bytes)) if Digest::of(bytes) == digest => Ok(()),
            _ => Err(Fault::Storage),
        }
    }
}

impl Storing {
    fn flush(&mut self, flash: &mut impl Flash) {
        if self.at.is_multiple_of(SECTOR) {
            flash.erase(self.at);
        }
        let mut page = [0xff; PAGE];
        page[..self.page.len()].copy_from_slice(&self.page);
        flash.program(self.at, &page);
        self.at += PAGE;
        self.page.clear();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use annulus_contract::flash::SIZE;
    use std::vec;

    /// A flash that does what flashes do, and loses a bit if it is told so.
    struct Chip {
        bytes: std::vec::Vec<u8>,
        worn: Option<usize>,
    }

    impl Flash for Chip {
        fn bytes(&self) -> &[u8] {
            &self.bytes
        }

        fn erase(&mut self, at: usize) {
            assert_eq!(at % SECTOR, 0);
            self.bytes[at..at + SECTOR].fill(0xff);
        }

        fn program(&mut self, at: usize, page: &[u8; PAGE]) {
            assert_eq!(at % PAGE, 0);
            for (bits, new) in self.bytes[at..].iter_mut().zip(page) {
                *bits &= new;
            }
            if let Some(worn) = self.worn {
                self.bytes[worn] &= !1;
            }
        }
    }

    fn chip() -> Storage<Chip> {
        Storage::new(Chip {
            bytes: vec![0; SIZE],
            worn: None,
        })
    }

    fn store(storage: &mut Storage<Chip>, object: Object, bytes: &[u8]) -> Result<(), Fault> {
        storage.begin(object, Digest::of(bytes))?;
        // On a bad line parts are short.
        bytes.chunks(100).try_for_each(|part| storage.write(part))?;
        storage.end()
    }

    #[test]
    fn objects_are_kept_side_by_side_until_they_are_replaced() {
        let mut storage = chip();
        let long: std::vec::Vec<u8> = (0..100_000u32).map(|i| i.wrapping_mul(i) as u8).collect();
        let all = [Object::Bitstream, Object::Image, Object::Script];
        for object in all {
            assert_eq!(storage.stored(object), None);
            store(&mut storage, object, &long).unwrap();
        }
        store(&mut storage, Object::Image, b"short").unwrap();
        let stored = |storage: &Storage<Chip>, object| {
            storage.stored(object).map(|(_, bytes)| bytes.to_vec())
        };
        assert_eq!(stored(&storage, Object::Image).unwrap(), b"short");
        assert_eq!(stored(&storage, Object::Bitstream).unwrap(), long);
        storage.forget(Object::Bitstream);
        assert_eq!(storage.stored(Object::Bitstream), None);
        assert_eq!(stored(&storage, Object::Script).unwrap(), long);
    }

    #[test]
    fn what_is_not_stored_to_its_end_is_none() {
        let mut storage = chip();
        assert_eq!(storage.write(b"early"), Err(Fault::NoUpload));
        assert_eq!(storage.end(), Err(Fault::NoUpload));
        let object = Object::Script;
        storage.begin(object, Digest::of(b"whole")).unwrap();
        storage.write(b"wh").unwrap();
        assert_eq!(storage.stored(object), None);
        assert_eq!(storage.end(), Err(Fault::Storage));
        storage.begin(object, Digest::of(b"whole")).unwrap();
        assert_eq!(storage.write(b"too long"), Err(Fault::Storage));
        let digest = Digest {
            length: Slot::of(object).room() as u32 + 1,
            crc: 0,
        };
        assert_eq!(storage.begin(object, digest), Err(Fault::NoStorage(object)));
    }

    #[test]
    fn a_flash_that_loses_a_bit_is_found_out() {
        let mut storage = chip();
        storage.flash.worn = Some(Slot::of(Object::Image).contents() + 7);
        let failed = store(&mut storage, Object::Image, &[0xff; 300]);
        assert_eq!(failed, Err(Fault::Storage));
    }
}
