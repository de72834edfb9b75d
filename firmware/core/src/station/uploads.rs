//! Objects on their way to where they are put to use or kept.

use super::work::{Then, Work};
use super::{fault, Outcome, Station};
use crate::board::Board;
use crate::driver::Driver;
use crate::loader::{Failure, Loader, Model};
use crate::upload::{Sink, Upload};
use annulus_contract::link::Wire;
use annulus_contract::sample::Key;
use annulus_contract::wire::{Digest, Fault, Object, Place, MAX_CHUNK};

impl<B: Board, W: Wire> Station<B, W> {
    pub(super) fn begin(
        &mut self,
        object: Object,
        place: Place,
        digest: Digest,
    ) -> Result<Outcome, Fault> {
        if let Some(upload) = self.upload.as_ref().filter(|u| u.is(object, place, digest)) {
            return Ok(Outcome::Have(upload.have()));
        }
        self.upload = None;
        let mut outcome = Outcome::Have(0);
        let sink = match (place, object) {
            (Place::Live, Object::Bitstream) => {
                self.board.begin_configuration()?;
                self.forget();
                self.shape = Err(Fault::NotConfigured);
                self.bitstream = None;
                Sink::Fpga
            }
            (Place::Live, Object::Image) => {
                let shape = self.shape?;
                let held = |(held, _): &(Digest, Model)| *held == digest;
                if self.image.as_ref().is_some_and(held) {
                    outcome = Outcome::Have(digest.length);
                    Sink::Held
                } else {
                    self.image = None;
                    self.run = None;
                    self.halt(Then::BeginImage);
                    outcome = Outcome::Later;
                    Sink::Core(Loader::new(shape))
                }
            }
            (Place::Live, Object::Script) => return Err(Fault::Request),
            (Place::Stored, _) => {
                if self.stored_soundly(object, digest) {
                    outcome = Outcome::Have(digest.length);
                    Sink::Held
                } else {
                    self.board.begin_storing(object, digest)?;
                    Sink::Flash
                }
            }
        };
        self.upload = Some(Upload::new(object, place, digest, sink));
        Ok(outcome)
    }

    pub(super) fn chunk(&mut self, offset: u32, bytes: &[u8]) -> Result<Outcome, Fault> {
        if matches!(self.work, Work::Halt { .. }) {
            return Ok(Outcome::NotYet);
        }
        let mut upload = self.upload.take().ok_or(Fault::NoUpload)?;
        let next = offset == upload.have();
        if bytes.len() > MAX_CHUNK || next && bytes.len() as u32 > upload.missing() {
            self.upload = Some(upload);
            return Err(Fault::Request);
        }
        if next {
            // What fails here cannot be gone on with: the upload is dropped.
            self.sink(&mut upload.sink, bytes)?;
            upload.took(bytes);
        }
        let have = upload.have();
        self.upload = Some(upload);
        Ok(Outcome::Have(have))
    }

    /// Puts bytes of an upload where they belong.
    fn sink(&mut self, sink: &mut Sink, bytes: &[u8]) -> Result<(), Fault> {
        match sink {
            Sink::Fpga => self.board.configure(bytes),
            Sink::Flash => self.board.store(bytes),
            Sink::Core(loader) => {
                let start = self.board.micros();
                let fed = loader.feed(&mut self.core, bytes);
                self.meters.link_micros += self.board.micros().saturating_sub(start);
                fed.map_err(|failure| match failure {
                    Failure::Fault(fault) => fault,
                    Failure::Core(error) => fault(error),
                })
            }
            Sink::Held => Ok(()),
        }
    }

    pub(super) fn finish(&mut self) -> Result<Outcome, Fault> {
        if matches!(self.work, Work::Halt { .. }) {
            return Ok(Outcome::NotYet);
        }
        let upload = self.upload.as_ref().ok_or(Fault::NoUpload)?;
        if upload.missing() > 0 {
            return Err(Fault::Incomplete);
        }
        let Some(upload) = self.upload.take() else {
            return Err(Fault::NoUpload);
        };
        if !upload.is_sound() {
            if matches!(upload.sink, Sink::Fpga) {
                self.board.begin_configuration()?;
            }
            return Err(Fault::Checksum);
        }
        match upload.sink {
            Sink::Fpga => {
                self.board.end_configuration()?;
                self.bitstream = Some(upload.digest);
                self.meet();
            }
            Sink::Core(loader) => {
                let model = loader.finish()?;
                self.image = Some((upload.digest, model));
                self.start_anew()?;
            }
            Sink::Flash => {
                self.board.end_storing()?;
                if !self.stored_soundly(upload.object, upload.digest) {
                    return Err(Fault::Storage);
                }
                self.stayed = None;
            }
            Sink::Held => {
                if upload.place == Place::Live {
                    self.halt(Then::Reset);
                    self.run = None;
                    self.start_greedy()?;
                    return Ok(Outcome::Later);
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// An empty stream that is chosen from greedily and never stops.
    pub(super) fn start_anew(&mut self) -> Result<(), Fault> {
        self.start_greedy()?;
        self.link(Driver::reset)
    }

    fn start_greedy(&mut self) -> Result<(), Fault> {
        self.link(|core| {
            core.set_sampler(0, Key::default())?;
            core.set_special(None, None)
        })
    }

    /// Whether the flash holds this object, every bit of it.
    pub(super) fn stored_soundly(&self, object: Object, digest: Digest) -> bool {
        let stored = self.board.stored(object);
        stored.is_some_and(|(stored, bytes)| stored == digest && Digest::of(bytes) == digest)
    }
}
