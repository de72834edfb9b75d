//! The register map, as a link reaches it.

use super::{Input, Interpreter, INPUT_QUEUE};
use annulus_contract::error;
use annulus_contract::regs::{self, region};

impl Interpreter {
    /// Read a register. Reading [`regs::TOKEN_OUT`] takes a token and reading
    /// [`regs::MEM_DATA`] moves on.
    pub fn read(&mut self, register: u8) -> u32 {
        match register {
            regs::ID => regs::ID_VALUE,
            regs::SHAPE => self.shape.shape_register(),
            regs::CAP_MEMORY => self.shape.memory,
            regs::CAP_SCALES => self.shape.scales,
            regs::CAP_STEPS => self.shape.steps,
            regs::CAP_KEY_SCALES => self.shape.key_scales,
            regs::CAP_SCORES => self.shape.score_words,
            regs::CAP_VECTOR => self.shape.vector_register(),
            regs::CAP_VOCAB => self.shape.vocab,
            regs::STATUS => self.status(),
            regs::ERROR => self.error,
            regs::TOKEN_OUT => self.output.pop_front().map_or(0, |token| token | 1 << 31),
            regs::POSITION => self.stream.position as u32,
            regs::POSITION_HIGH => (self.stream.position >> 32) as u32,
            regs::RING_STATE => self.stream.full.into(),
            regs::KEY_AT => self.stream.key_at.0 | self.stream.key_at.1 << 16,
            regs::VALUE_AT => self.stream.value_at.0 | self.stream.value_at.1 << 16,
            regs::MEM_DATA => {
                let (region, index, lane) = self.memory_place();
                match region {
                    region::LOGITS => self.logits.get(index).map_or(0, |&l| l as u32),
                    region::RESIDUAL => {
                        let half = |i| self.residual.get(i).map_or(0, |&x: &i32| x as u32 & 0xffff);
                        half(2 * index) | half(2 * index + 1) << 16
                    }
                    _ => self.memory.read(region, index, lane),
                }
            }
            regs::LOGITS_CRC => self.logits_crc.value(),
            regs::CHOICE => self.choice,
            regs::TOKENS => self.tokens,
            _ => self.register(register),
        }
    }

    /// Write a register.
    pub fn write(&mut self, register: u8, value: u32) {
        let stream = &mut self.stream;
        let halves = (value & 0xffff, value >> 16 & 0xff);
        match register {
            regs::CONTROL => self.control(value),
            regs::TOKEN_IN if self.input.len() == INPUT_QUEUE => {
                self.error |= error::INPUT_OVERFLOW
            }
            regs::TOKEN_IN => {
                self.stopped = false;
                self.input.push_back(Input {
                    token: value & 0xffff,
                    logits_wanted: value >> 31 == 0,
                });
            }
            regs::POSITION => stream.position = stream.position >> 32 << 32 | u64::from(value),
            regs::POSITION_HIGH => {
                stream.position = stream.position & 0xffff_ffff | u64::from(value) << 32
            }
            regs::RING_STATE => stream.full = value & 1 == 1,
            regs::KEY_AT => stream.key_at = halves,
            regs::VALUE_AT => stream.value_at = halves,
            regs::MEM_DATA => {
                let (region, index, lane) = self.memory_place();
                self.memory.write(region, index, lane, value);
            }
            _ => self.registers[register as usize] = value,
        }
    }

    /// The place that [`regs::MEM_ADDRESS`] names, and the address of the next.
    fn memory_place(&mut self) -> (u32, usize, usize) {
        let address = self.register(regs::MEM_ADDRESS);
        let (region, lane, index) = (address >> 28, address >> 20 & 0xff, address & 0xf_ffff);
        let lanes = region::lanes(region, self.shape.rows);
        let (next_lane, next_index) = if lane + 1 < lanes {
            (lane + 1, index)
        } else {
            (0, index + 1)
        };
        self.registers[regs::MEM_ADDRESS as usize] =
            regs::mem_address(region, next_index & 0xf_ffff, next_lane);
        (region, index as usize, lane as usize % lanes as usize)
    }
}
