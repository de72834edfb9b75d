//! An image on its way into the core: takes the file's bytes as they come and puts each section
//! where it belongs, with room for one burst of words and nothing else.

use crate::driver::{self, Driver, RegisterBus};
use annulus_contract::image::{conf, Section, HEADER_BYTES, MAGIC, NO_TOKEN, SECTIONS, VERSION};
use annulus_contract::regs::{self, mem_address, region};
use annulus_contract::shape::CoreShape;
use annulus_contract::wire::{Fault, Short, GOLDEN_TOKENS};
use heapless::Vec;

/// Words that are collected before they go to a memory: a frame of the link.
const BURST: usize = annulus_contract::link::MAX_BURST;

/// The registers that an image sets: those that describe model and ring.
const MODEL_REGISTERS: [u8; 8] = [
    regs::KEY_GROUPS,
    regs::KEY_LAST,
    regs::VALUE_GROUPS,
    regs::VALUE_LAST,
    regs::EPS,
    regs::EMBEDDING_EPS,
    regs::POSITION_MASK,
    regs::HEAD,
];

/// What a board remembers of the image that its core runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub vocab: u32,
    pub bos: u32,
    pub restart: Option<u32>,
    pub golden: Golden,
}

/// The image's self-test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Golden {
    pub crc: u32,
    pub prompt: Vec<u16, GOLDEN_TOKENS>,
    pub tokens: Vec<u16, GOLDEN_TOKENS>,
}

/// Where in the file the next byte is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In the header.
    Header,
    /// In a section's tag and length.
    Tag,
    /// In a section, with so many bytes to come.
    Inside(u32),
    /// In the CRC at the end.
    End,
}

/// A half-read image.
#[derive(Debug)]
pub(crate) struct Loader {
    shape: CoreShape,
    at: At,
    /// Bytes of the part that `at` is in.
    count: u32,
    /// Which of [`SECTIONS`].
    section: usize,
    /// The last eight bytes, the latest at the end.
    latest: u64,
    /// Bytes of the file.
    length: u32,
    /// Bytes so far.
    done: u32,
    burst: Vec<u32, BURST>,
    /// Where the burst goes.
    address: u32,
    golden_counts: (u32, u32),
    model: Model,
}

impl Loader {
    /// For a core of this shape.
    pub fn new(shape: CoreShape) -> Self {
        Loader {
            shape,
            at: At::Header,
            count: 0,
            section: 0,
            latest: 0,
            length: 0,
            done: 0,
            burst: Vec::new(),
            address: 0,
            golden_counts: (0, 0),
            model: Model::default(),
        }
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// If they are not an image's or it does not fit; the image cannot be gone on with.
    pub fn feed<B: RegisterBus>(
        &mut self,
        core: &mut Driver<B>,
        bytes: &[u8],
    ) -> Result<(), Failure<B::Error>> {
        bytes.iter().try_for_each(|&byte| self.byte(core, byte))
    }

    /// What is to be remembered of an image that is all there; its CRC is the caller's to check.
    ///
    /// # Errors
    /// If something is missing.
    pub fn finish(self) -> Result<Model, Fault> {
        let whole = matches!(self.at, At::End) && self.done == self.length;
        let golden = &self.model.golden;
        let tested = !golden.prompt.is_empty() && !golden.tokens.is_empty();
        if whole && tested {
            Ok(self.model)
        } else {
            Err(Fault::Image)
        }
    }

    fn byte<B: RegisterBus>(
        &mut self,
        core: &mut Driver<B>,
        byte: u8,
    ) -> Result<(), Failure<B::Error>> {
        self.latest = self.latest << 8 | u64::from(byte);
        self.count += 1;
        self.done = self.done.wrapping_add(1);
        match self.at {
            At::Header => self.header()?,
            At::Tag => {
                if self.count == 8 {
                    self.begin()?;
                }
            }
            At::Inside(length) => {
                self.content(core)?;
                if self.count == length {
                    self.end(core)?;
                }
            }
            At::End => {
                if self.count > 4 {
                    return Err(Fault::Image.into());
                }
            }
        }
        // Empty sections end where they begin.
        while matches!(self.at, At::Inside(0)) {
            self.end(core)?;
        }
        Ok(())
    }

    /// The last four bytes as a number.
    fn number(&self) -> u32 {
        (self.latest as u32).swap_bytes()
    }

    fn header(&mut self) -> Result<(), Fault> {
        match self.count as usize {
            8 => expect(self.latest.to_be_bytes() == MAGIC),
            12 => expect(self.number() == VERSION),
            HEADER_BYTES => {
                self.length = self.number();
                self.to(At::Tag);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn to(&mut self, at: At) {
        (self.at, self.count) = (at, 0);
    }

    fn current(&self) -> Option<Section> {
        SECTIONS.get(self.section).copied()
    }

    /// A section's tag and length are there.
    fn begin(&mut self) -> Result<(), Fault> {
        let section = self.current().ok_or(Fault::Image)?;
        let tag = (self.latest >> 32) as u32;
        expect(tag.to_be_bytes() == section.tag().as_bytes())?;
        let length = self.number();
        let shape = &self.shape;
        let fits = |what, needs: u32, has: u32| {
            if needs <= has {
                Ok(())
            } else {
                Err(Fault::DoesNotFit { what, needs, has })
            }
        };
        let (memory, unit) = match section {
            Section::Conf => {
                expect(length as usize >= 4 * conf::NUMBERS)?;
                (None, 4)
            }
            Section::Regs => (None, 8),
            Section::Gold => (None, 4),
            Section::Name | Section::Text => (None, 1),
            Section::Step => {
                fits(Short::Steps, length / 32, shape.steps)?;
                (Some(region::STEPS), 32)
            }
            Section::Scal => {
                fits(Short::Scales, length / 2, shape.scales)?;
                (Some(region::SCALES), 2)
            }
            Section::Gain => {
                fits(Short::Residual, length / 2, shape.residual)?;
                (Some(region::GAINS), 2)
            }
            Section::Incr | Section::Farr => {
                fits(Short::Head, length / 2, shape.max_head)?;
                let increments = section == Section::Incr;
                let memory = if increments {
                    region::INCREMENT
                } else {
                    region::FAR
                };
                (Some(memory), 4)
            }
            Section::Wide => {
                let word = shape.word_bytes().max(4);
                fits(Short::Memory, length / word, shape.memory)?;
                (Some(region::WIDE), word)
            }
        };
        expect(length.is_multiple_of(unit))?;
        self.address = mem_address(memory.unwrap_or(0), 0, 0);
        self.to(At::Inside(length));
        Ok(())
    }

    /// A byte of a section.
    fn content<B: RegisterBus>(&mut self, core: &mut Driver<B>) -> Result<(), Failure<B::Error>> {
        let Some(section) = self.current() else {
            return Err(Fault::Image.into());
        };
        let whole_word = self.count.is_multiple_of(4);
        match section {
            Section::Name | Section::Text => {}
            Section::Scal => {
                if self.count.is_multiple_of(2) {
                    let entry = (self.latest as u16).swap_bytes();
                    self.word(core, entry.into())?;
                }
            }
            _ if !whole_word => {}
            Section::Conf => self.size((self.count / 4 - 1) as usize)?,
            Section::Regs => {
                if self.count.is_multiple_of(8) {
                    let register = ((self.latest >> 32) as u32).swap_bytes();
                    let known = MODEL_REGISTERS
                        .into_iter()
                        .find(|&known| u32::from(known) == register);
                    core.write(known.ok_or(Fault::Image)?, self.number())?;
                }
            }
            Section::Gold => self.golden((self.count / 4 - 1) as usize)?,
            Section::Step | Section::Gain | Section::Incr | Section::Farr | Section::Wide => {
                self.word(core, self.number())?
            }
        }
        Ok(())
    }

    /// A section is at its end.
    fn end<B: RegisterBus>(&mut self, core: &mut Driver<B>) -> Result<(), Failure<B::Error>> {
        match self.current() {
            Some(Section::Gain) if self.count % 4 == 2 => {
                let half = (self.latest as u16).swap_bytes();
                self.word(core, half.into())?;
            }
            Some(Section::Gold) => {
                let golden = &self.model.golden;
                let counts = (golden.prompt.len() as u32, golden.tokens.len() as u32);
                expect(counts == self.golden_counts)?;
            }
            _ => {}
        }
        self.flush(core)?;
        self.section += 1;
        self.to(if self.section == SECTIONS.len() {
            At::End
        } else {
            At::Tag
        });
        Ok(())
    }

    /// A number of the first section.
    fn size(&mut self, index: usize) -> Result<(), Fault> {
        let (needs, shape) = (self.number(), &self.shape);
        let token = |token| (token != NO_TOKEN).then_some(token);
        let limit = match index {
            conf::ROWS if needs != shape.rows => {
                let (what, has) = (Short::Rows, shape.rows);
                return Err(Fault::DoesNotFit { what, needs, has });
            }
            conf::BOS => {
                self.model.bos = needs;
                None
            }
            conf::RESTART => {
                self.model.restart = token(needs);
                None
            }
            conf::DIM => Some((Short::Residual, shape.residual)),
            conf::HIDDEN => Some((Short::Hidden, shape.hidden)),
            conf::HEAD_SIZE => Some((Short::Head, shape.max_head)),
            conf::VOCAB => {
                self.model.vocab = needs;
                Some((Short::Vocab, shape.vocab))
            }
            _ => None,
        };
        match limit {
            Some((what, has)) if needs > has => Err(Fault::DoesNotFit { what, needs, has }),
            _ => Ok(()),
        }
    }

    /// A number of the self-test.
    fn golden(&mut self, index: usize) -> Result<(), Fault> {
        let number = self.number();
        let golden = &mut self.model.golden;
        match index {
            0 => golden.crc = number,
            1 => self.golden_counts.0 = number,
            2 => self.golden_counts.1 = number,
            _ => {
                let token = u16::try_from(number).map_err(|_| Fault::Image)?;
                let list = if golden.prompt.len() < self.golden_counts.0 as usize {
                    &mut golden.prompt
                } else {
                    &mut golden.tokens
                };
                list.push(token).map_err(|_| Fault::Image)?;
            }
        }
        Ok(())
    }

    /// A word for the memory that the section goes to.
    fn word<B: RegisterBus>(
        &mut self,
        core: &mut Driver<B>,
        word: u32,
    ) -> Result<(), Failure<B::Error>> {
        // There is room: a full burst leaves at once.
        let _ = self.burst.push(word);
        if self.burst.is_full() {
            self.flush(core)?;
        }
        Ok(())
    }

    fn flush<B: RegisterBus>(&mut self, core: &mut Driver<B>) -> Result<(), Failure<B::Error>> {
        if !self.burst.is_empty() {
            core.write_memory(self.address, &self.burst)?;
            let count = self.burst.len() as u32;
            self.address = annulus_contract::link::advance(self.address, count, self.shape.rows);
            self.burst.clear();
        }
        Ok(())
    }
}

fn expect(holds: bool) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(Fault::Image)
    }
}

/// Why an image stays half-read.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// The image is at fault.
    Fault(Fault),
    /// The core is.
    Core(driver::Error<E>),
}

impl<E> From<Fault> for Failure<E> {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

impl<E> From<driver::Error<E>> for Failure<E> {
    fn from(error: driver::Error<E>) -> Self {
        Failure::Core(error)
    }
}
