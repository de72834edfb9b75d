//! The configuration port of an iCE40UP5K as an SPI slave: what raises CDONE and what does not
//! (`annulus_contract::ice40`).

use annulus_contract::ice40::{crc16, Bank, CRC_RESET, PREAMBLE, UP5K_BANKS};
use std::mem;

/// From the rise of the reset pin until the part listens, in nanoseconds.
const CLEARING: u64 = 1_200_000;
/// Clocks after the last command until CDONE rises.
const DONE_AFTER: u32 = 8;
/// Clocks after that until the part's pins and logic live.
const AWAKE_AFTER: u32 = 49;

/// Where a configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The reset pin is low.
    Reset,
    /// Looking for the preamble.
    Preamble,
    /// The next byte is a command.
    Command,
    /// So many bytes of a command's argument are missing.
    Argument { command: u8, left: u8, value: u32 },
    /// So many bytes of a memory's contents are missing, with the two zeros after them.
    Contents { left: usize },
    /// The last command has been executed; so many clocks ago.
    Done { clocks: u32 },
    /// It is no sound bitstream for this part.
    Refused,
}

/// The configuration port.
#[derive(Clone, Debug)]
pub struct ConfigurationPort {
    state: State,
    /// When the part listens.
    listens: u64,
    recent: u32,
    crc: u16,
    checked: bool,
    /// What comes is for a bank of this size.
    size: Bank,
    bank: usize,
    /// Banks of the configuration memory that have been written.
    written: usize,
}

impl Default for ConfigurationPort {
    fn default() -> Self {
        ConfigurationPort {
            state: State::Refused,
            listens: 0,
            recent: 0,
            crc: 0,
            checked: false,
            size: Bank {
                columns: 0,
                rows: 0,
            },
            bank: 0,
            written: 0,
        }
    }
}

impl ConfigurationPort {
    /// The reset pin has this level at this time in nanoseconds. When it rises, the level of the
    /// select pin decides who brings the bitstream: low, whoever holds it low; high, the part reads
    /// its own flash, which is empty.
    pub fn reset_pin(&mut self, level: bool, selected: bool, now: u64) {
        if !level {
            *self = ConfigurationPort {
                state: State::Reset,
                ..Self::default()
            };
        } else if self.state == State::Reset {
            self.state = if selected {
                State::Preamble
            } else {
                State::Refused
            };
            self.listens = now + CLEARING;
        }
    }

    /// Takes bytes, most significant bit first, while selected.
    pub fn bytes(&mut self, bytes: &[u8], now: u64) {
        if now < self.listens {
            return;
        }
        for &byte in bytes {
            self.byte(byte);
        }
    }

    /// Takes clocks while not selected.
    pub fn clocks(&mut self, count: u32) {
        if let State::Done { clocks } = &mut self.state {
            *clocks = clocks.saturating_add(count);
        }
    }

    /// The level of CDONE.
    pub fn done(&self) -> bool {
        matches!(self.state, State::Done { clocks } if clocks >= DONE_AFTER)
    }

    /// Whether what was configured is at work.
    pub fn awake(&self) -> bool {
        matches!(self.state, State::Done { clocks } if clocks >= DONE_AFTER + AWAKE_AFTER)
    }

    fn byte(&mut self, byte: u8) {
        self.crc = crc16(self.crc, &[byte]);
        self.state = match mem::replace(&mut self.state, State::Refused) {
            State::Preamble => {
                self.recent = self.recent << 8 | u32::from(byte);
                if self.recent == u32::from_be_bytes(PREAMBLE) {
                    State::Command
                } else {
                    State::Preamble
                }
            }
            State::Command => self.argument(byte >> 4, byte & 0xf, 0),
            State::Argument {
                command,
                left,
                value,
            } => self.argument(command, left - 1, value << 8 | u32::from(byte)),
            // After the contents come two zeros.
            State::Contents { left: 1 | 2 } if byte != 0 => State::Refused,
            State::Contents { left: 1 } => State::Command,
            State::Contents { left } => State::Contents { left: left - 1 },
            State::Done { clocks } => State::Done {
                clocks: clocks.saturating_add(8),
            },
            state @ (State::Reset | State::Refused) => state,
        };
    }

    /// A command of whose argument so many bytes are missing.
    fn argument(&mut self, command: u8, left: u8, value: u32) -> State {
        if left > 0 {
            return State::Argument {
                command,
                left,
                value,
            };
        }
        match (command, value) {
            (0, 1) => return self.configuration_memory(),
            (0, 3) => return self.contents(),
            (0, 5) => {
                self.crc = CRC_RESET;
                self.checked = false;
            }
            (0, 6) if self.checked && self.written == UP5K_BANKS.len() => {
                return State::Done { clocks: 0 }
            }
            (1, bank) => self.bank = bank as usize,
            (2, _) if self.crc == 0 => self.checked = true,
            // How fast a flash is read, where in the bank the contents go, how to sleep.
            (5 | 8 | 9, _) => {}
            (6, last) => self.size.columns = (last & 0xffff) + 1,
            (7, rows) => self.size.rows = rows & 0xffff,
            _ => return State::Refused,
        }
        State::Command
    }

    fn configuration_memory(&mut self) -> State {
        let expected = UP5K_BANKS.get(self.bank);
        if self.bank != self.written || expected != Some(&self.size) {
            return State::Refused;
        }
        self.written += 1;
        self.contents()
    }

    fn contents(&self) -> State {
        State::Contents {
            left: self.size.bytes() + 2,
        }
    }
}

/// A sound bitstream that configures an UP5K with nothing: enough for a twin, whose FPGA holds the
/// core whatever the bitstream says.
pub fn blank_bitstream() -> Vec<u8> {
    empty(&UP5K_BANKS)
}

/// A bitstream of zeros for a part with these banks, with a right checksum.
fn empty(banks: &[Bank]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0x00, 0x00, 0xff];
    bytes.extend(PREAMBLE);
    bytes.extend([0x51, 0x00, 0x01, 0x05]);
    let checked_from = bytes.len();
    bytes.extend([0x92, 0x00, 0x20]);
    for (bank, size) in banks.iter().enumerate() {
        bytes.push(0x62);
        bytes.extend((size.columns as u16 - 1).to_be_bytes());
        bytes.push(0x72);
        bytes.extend((size.rows as u16).to_be_bytes());
        bytes.extend([0x82, 0x00, 0x00, 0x11, bank as u8, 0x01, 0x01]);
        bytes.resize(bytes.len() + size.bytes() + 2, 0);
    }
    bytes.push(0x22);
    let crc = crc16(CRC_RESET, &bytes[checked_from..]);
    bytes.extend(crc.to_be_bytes());
    bytes.extend([0x01, 0x06, 0x00]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(bytes: &[u8]) -> ConfigurationPort {
        let mut port = ConfigurationPort::default();
        port.reset_pin(false, true, 0);
        port.reset_pin(true, true, 1_000);
        port.bytes(bytes, 1_000 + CLEARING);
        port.clocks(100);
        port
    }

    #[test]
    fn a_sound_bitstream_raises_cdone() {
        let port = configured(&blank_bitstream());
        assert!(port.done() && port.awake());
    }

    #[test]
    fn any_damaged_bit_after_the_preamble_does_not() {
        let good = blank_bitstream();
        // Speed and power modes before the checksum's beginning change nothing that is checked.
        for byte in (12..good.len() - 1).step_by(61).chain(12..60) {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            assert!(!configured(&bad).done(), "byte {byte}");
        }
        for length in [0, 8, 1000, good.len() - 3] {
            assert!(!configured(&good[..length]).done(), "{length} bytes");
        }
    }

    #[test]
    fn nor_does_one_for_another_part() {
        // An HX1K.
        let bank = Bank {
            columns: 332,
            rows: 144,
        };
        assert!(!configured(&empty(&[bank; 4])).done());
    }

    #[test]
    fn nor_does_one_that_comes_too_early_or_to_a_part_that_reads_its_flash() {
        let mut early = ConfigurationPort::default();
        early.reset_pin(false, true, 0);
        early.reset_pin(true, true, 1_000);
        early.bytes(&blank_bitstream(), CLEARING);
        early.clocks(100);
        assert!(!early.done());
        let mut other = ConfigurationPort::default();
        other.reset_pin(false, false, 0);
        other.reset_pin(true, false, 1_000);
        other.bytes(&blank_bitstream(), 2 * CLEARING);
        other.clocks(100);
        assert!(!other.done());
    }

    #[test]
    fn it_takes_clocks_to_wake_and_a_reset_to_forget() {
        let mut port = configured(&[]);
        port.bytes(&blank_bitstream(), 2 * CLEARING);
        assert!(port.done() && !port.awake());
        port.clocks(AWAKE_AFTER);
        assert!(port.awake());
        port.reset_pin(false, true, 0);
        assert!(!port.done() && !port.awake());
    }
}
