//! A core in software, step by step but not cycle by cycle: it knows nothing of
//! models, only memories, registers and the steps it fetches from them.
//!
//! It proves that images are right (its results equal the reference's, which
//! knows nothing of images), stands in for a core where drivers are tested, and
//! says what every register and every step means. Numbers come from
//! `annulus_contract`; how long a step takes is [`crate::cycles`]' matter.

mod bus;
mod memory;
mod pass;

use crate::image::Image;
use annulus_contract::regs::{self, control, feature, status};
use annulus_contract::sample::{Gumbel, Key};
use annulus_contract::shape::CoreShape;
use memory::Memory;
use std::collections::VecDeque;

/// Input tokens that can wait.
pub const INPUT_QUEUE: usize = 16;
/// Chosen tokens that can wait; a full queue stalls the core.
pub const OUTPUT_QUEUE: usize = 16;

/// Fraction bits of logits that the sampler expects.
const LOGIT_BITS: u32 = 12;

/// A core without a clock: registers, memories and one token at a time.
#[derive(Clone, Debug)]
pub struct Interpreter {
    shape: CoreShape,
    memory: Memory,
    stream: Stream,
    input: VecDeque<Input>,
    output: VecDeque<u32>,
    /// Plain registers, by address.
    registers: [u32; 256],
    stopped: bool,
    error: u32,
    logits_crc: annulus_contract::crc::Crc32,
    choice: u32,
    tokens: u32,
    logits: Vec<i32>,
    residual: Vec<i32>,
    /// A choice that has not been fed back.
    pending: Option<u32>,
}

/// A queued token.
#[derive(Clone, Copy, Debug)]
struct Input {
    token: u32,
    logits_wanted: bool,
}

/// Where a stream is: what [`control::RESET`] and the restart token empty.
#[derive(Clone, Debug, Default)]
struct Stream {
    position: u64,
    /// Every slot has been written.
    full: bool,
    /// Group and row, in the key ring, of the next token.
    key_at: (u32, u32),
    /// Group and column in the value ring.
    value_at: (u32, u32),
}

impl Interpreter {
    /// A core of this shape, its memories full of noise: no result may depend
    /// on what was not written.
    pub fn new(shape: CoreShape) -> Self {
        Interpreter {
            memory: Memory::new(&shape),
            stream: Stream::default(),
            input: VecDeque::new(),
            output: VecDeque::new(),
            registers: [0; 256],
            stopped: false,
            error: 0,
            logits_crc: annulus_contract::crc::Crc32::new(),
            choice: 0,
            tokens: 0,
            logits: vec![0; shape.vocab as usize],
            residual: vec![0; shape.residual as usize],
            pending: None,
            shape,
        }
    }

    /// The shape of the core.
    pub fn shape(&self) -> &CoreShape {
        &self.shape
    }

    /// Logits of the last token whose logits were wanted; symbols that the model
    /// does not have keep what an earlier model left.
    pub fn logits(&self) -> &[i32] {
        &self.logits
    }

    /// Load an image, as a driver does over the link, and reset.
    pub fn load(&mut self, image: &Image) {
        for (region, words) in image.loads() {
            self.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
            for word in words {
                self.write(regs::MEM_DATA, word);
            }
        }
        for (register, value) in image.registers() {
            self.write(register, value);
        }
        self.write(regs::CONTROL, control::RESET);
    }

    /// Process one token, if there is one and room for its choice. `false` when
    /// the core is idle or stalled.
    pub fn advance(&mut self) -> bool {
        let Some(Input {
            token,
            logits_wanted,
        }) = self.next_input()
        else {
            return false;
        };
        self.pending = None;
        self.forward(token, logits_wanted);
        self.tokens = self.tokens.wrapping_add(1);
        self.next_slot();
        if logits_wanted {
            self.choose();
        }
        true
    }

    /// A queued token, else the core's own choice while its budget lasts.
    fn next_input(&mut self) -> Option<Input> {
        let room = self.output.len() < OUTPUT_QUEUE;
        if let Some(input) = self.input.front() {
            return if room || !input.logits_wanted {
                self.input.pop_front()
            } else {
                None
            };
        }
        let token = self.pending.filter(|_| room && !self.stopped)?;
        let budget = &mut self.registers[regs::BUDGET as usize];
        *budget = budget.checked_sub(1)?;
        Some(Input {
            token,
            logits_wanted: true,
        })
    }

    /// Hand out the choice and act on it.
    fn choose(&mut self) {
        self.output.push_back(self.choice);
        self.pending = Some(self.choice);
        let samples = &mut self.registers[regs::SAMPLES as usize];
        *samples = samples.wrapping_add(1);
        let chosen = |register: u32| register >> 31 == 1 && register & 0xffff == self.choice;
        if chosen(self.register(regs::STOP)) {
            self.stopped = true;
        }
        if chosen(self.register(regs::RESTART)) {
            self.restart_stream();
        }
    }

    /// Position 0 and an empty ring; the sampler goes on.
    fn restart_stream(&mut self) {
        self.stream = Stream::default();
        self.memory.phases.fill(0);
    }

    /// Move ring, position and phases to the next token.
    fn next_slot(&mut self) {
        let next = |(group, at): (u32, u32), size| {
            if at + 1 == size {
                (group + 1, 0)
            } else {
                (group, at + 1)
            }
        };
        let (keys, values) = (
            self.halves(regs::KEY_GROUPS),
            self.halves(regs::VALUE_GROUPS),
        );
        let last = self.register(regs::KEY_LAST);
        let (ring_last, sink_last) = (last & 0xff, last >> 8 & 0xff);
        let stream = &mut self.stream;
        let (group, row) = stream.key_at;
        let sinks_end = group + 1 == keys.1 && row + 1 == sink_last;
        let ring_end = group + 1 == keys.0 && row + 1 == ring_last;
        stream.position = stream.position.wrapping_add(1);
        stream.full |= ring_end;
        if sinks_end || ring_end {
            (stream.key_at, stream.value_at) = ((keys.1, 0), (values.1, 0));
        } else {
            stream.key_at = next(stream.key_at, self.shape.rows);
            stream.value_at = next(stream.value_at, 8);
        }
        self.memory.step_phases();
    }

    /// Both halves of a register, the low one first.
    fn halves(&self, register: u8) -> (u32, u32) {
        let value = self.register(register);
        (value & 0xffff, value >> 16)
    }

    /// Sinks are in use and the position has passed the window.
    fn far(&self) -> bool {
        self.has(feature::SINKS) && self.stream.full && self.halves(regs::KEY_GROUPS).1 > 0
    }

    fn sampler(&self) -> Option<Gumbel> {
        let it = self.register(regs::TEMPERATURE) as u16;
        let key = Key {
            k0: self.register(regs::KEY0),
            k1: self.register(regs::KEY1),
        };
        (it > 0).then_some(Gumbel {
            it,
            key,
            logit_bits: LOGIT_BITS,
        })
    }

    fn register(&self, register: u8) -> u32 {
        self.registers[register as usize]
    }

    /// [`status`] bits; a token takes no time here, so the core is never seen busy.
    fn status(&self) -> u32 {
        let bits = [
            (self.stopped, status::STOPPED),
            (self.input.len() == INPUT_QUEUE, status::INPUT_FULL),
            (!self.output.is_empty(), status::OUTPUT),
            (self.error != 0, status::ERROR),
        ];
        bits.iter()
            .filter(|(set, _)| *set)
            .map(|(_, bit)| bit)
            .sum()
    }

    fn control(&mut self, bits: u32) {
        if bits & control::RESET != 0 {
            self.restart_stream();
            self.input.clear();
            self.output.clear();
            self.pending = None;
            (self.stopped, self.error) = (false, 0);
            self.registers[regs::BUDGET as usize] = 0;
            self.registers[regs::SAMPLES as usize] = 0;
        }
        if bits & control::CLEAR_COUNTERS != 0 {
            self.tokens = 0;
        }
        if bits & control::CLEAR_CRC != 0 {
            self.logits_crc = annulus_contract::crc::Crc32::new();
        }
    }

    fn has(&self, bit: u32) -> bool {
        self.shape.features & bit != 0
    }

    /// Whether head vectors are rotated by Hadamard's matrix.
    fn hadamard(&self) -> bool {
        self.has(feature::HADAMARD) && self.register(regs::HEAD) >> 8 & 1 == 1
    }
}
