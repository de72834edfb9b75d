//! An object on its way to the board.

use crate::loader::Loader;
use annulus_contract::crc::Crc32;
use annulus_contract::wire::{Digest, Object, Place};

/// Where an upload's bytes go.
#[allow(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with"
)]
#[derive(Debug)]
pub(crate) enum Sink {
    /// Into the FPGA.
    Fpga,
    /// Into the core's memories.
    Core(Loader),
    /// Into the board's flash.
    Flash,
    /// Nowhere: the board holds this very object already.
    Held,
}

/// A half-done upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub object: Object,
    pub place: Place,
    pub digest: Digest,
    pub sink: Sink,
    /// Bytes that have come.
    have: u32,
    crc: Crc32,
}

impl Upload {
    pub fn new(object: Object, place: Place, digest: Digest, sink: Sink) -> Self {
        let held = matches!(sink, Sink::Held);
        Upload {
            object,
            place,
            digest,
            sink,
            have: if held { digest.length } else { 0 },
            crc: Crc32::new(),
        }
    }

    /// Whether it is an upload of this.
    pub fn is(&self, object: Object, place: Place, digest: Digest) -> bool {
        (self.object, self.place, self.digest) == (object, place, digest)
    }

    /// Bytes that have come.
    pub fn have(&self) -> u32 {
        self.have
    }

    /// Bytes that are still to come.
    pub fn missing(&self) -> u32 {
        self.digest.length.saturating_sub(self.have)
    }

    /// These bytes have come and gone where they belong.
    pub fn took(&mut self, bytes: &[u8]) {
        self.have += bytes.len() as u32;
        self.crc.update(bytes);
    }

    /// Whether what came has the CRC that it was to have.
    pub fn is_sound(&self) -> bool {
        matches!(self.sink, Sink::Held) || self.crc.value() == self.digest.crc
    }
}
