//! An interpreter for the instructions of a Cortex-M0+, as far as code in its RAM needs them: all of
//! ARMv6-M but exceptions and the special registers.

/// Memory as the processor sees it.
pub trait Bus {
    fn read(&mut self, address: u32) -> u8;
    fn write(&mut self, address: u32, byte: u8);
}

/// What an instruction came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Done,
    /// It was a breakpoint; the program counter is still there.
    Breakpoint,
    /// It is none of ARMv6-M.
    Undefined(u16),
}

/// Registers and flags.
#[derive(Debug, Default)]
pub struct Processor {
    pub r: [u32; 16],
    n: bool,
    z: bool,
    c: bool,
    v: bool,
}

const SP: usize = 13;
const LR: usize = 14;
const PC: usize = 15;

fn load(bus: &mut impl Bus, address: u32, bytes: u32) -> u32 {
    (0..bytes).fold(0, |word, i| {
        word | u32::from(bus.read(address.wrapping_add(i))) << (8 * i)
    })
}

fn store(bus: &mut impl Bus, address: u32, bytes: u32, word: u32) {
    for i in 0..bytes {
        bus.write(address.wrapping_add(i), (word >> (8 * i)) as u8);
    }
}

fn signed(value: u32, bits: u32) -> u32 {
    (((value << (32 - bits)) as i32) >> (32 - bits)) as u32
}

impl Processor {
    fn flags(&mut self, result: u32) -> u32 {
        (self.n, self.z) = (result >> 31 == 1, result == 0);
        result
    }

    fn add(&mut self, a: u32, b: u32, carry: bool) -> u32 {
        let wide = u64::from(a) + u64::from(b) + u64::from(carry);
        let sum = wide as u32;
        self.c = wide >> 32 == 1;
        self.v = (!(a ^ b) & (a ^ sum)) >> 31 == 1;
        self.flags(sum)
    }

    fn shift(&mut self, kind: u16, value: u32, by: u32) -> u32 {
        let wide = u64::from(value);
        let (result, out) = match (kind, by) {
            (_, 0) => (value, self.c),
            (0, 1..=32) => ((wide << by) as u32, wide << by >> 32 & 1 == 1),
            (1, 1..=32) => ((wide >> by) as u32, wide >> (by - 1) & 1 == 1),
            (2, _) => {
                let wide = i64::from(value as i32);
                let by = by.min(32);
                ((wide >> by) as u32, wide >> (by - 1) & 1 == 1)
            }
            (3, _) => {
                let turned = value.rotate_right(by);
                (turned, turned >> 31 == 1)
            }
            _ => (0, false),
        };
        self.c = out;
        self.flags(result)
    }

    fn holds(&self, condition: u16) -> bool {
        let (n, z, c, v) = (self.n, self.z, self.c, self.v);
        let holds = match condition >> 1 {
            0 => z,
            1 => c,
            2 => n,
            3 => v,
            4 => c && !z,
            5 => n == v,
            _ => !z && n == v,
        };
        holds != (condition & 1 == 1)
    }

    fn jump(&mut self, to: u32) {
        self.r[PC] = to & !1;
    }

    /// Runs the instruction that the program counter is at.
    pub fn step(&mut self, bus: &mut impl Bus) -> Step {
        let at = self.r[PC];
        let op = load(bus, at, 2) as u16;
        // What an instruction reads as the program counter is two instructions on.
        self.r[PC] = at.wrapping_add(4);
        let mut next = at.wrapping_add(2);
        let field = |low: u16, bits: u16| usize::from(op >> low & ((1 << bits) - 1));
        let (d, n, m) = (field(0, 3), field(3, 3), field(6, 3));
        let (t, byte, five) = (field(8, 3), field(0, 8) as u32, field(6, 5) as u32);
        match op >> 11 {
            0..=2 => {
                let by = if five == 0 && op >> 11 != 0 { 32 } else { five };
                self.r[d] = self.shift(op >> 11, self.r[n], by);
            }
            3 => {
                let b = if op >> 10 & 1 == 1 {
                    m as u32
                } else {
                    self.r[m]
                };
                self.r[d] = if op >> 9 & 1 == 1 {
                    self.add(self.r[n], !b, true)
                } else {
                    self.add(self.r[n], b, false)
                };
            }
            4 => self.r[t] = self.flags(byte),
            5 => {
                self.add(self.r[t], !byte, true);
            }
            6 => self.r[t] = self.add(self.r[t], byte, false),
            7 => self.r[t] = self.add(self.r[t], !byte, true),
            8 if op >> 10 & 1 == 0 => self.data(op >> 6 & 15, d, n),
            8 => {
                let (d, m) = (d | field(7, 1) << 3, field(3, 4));
                match op >> 8 & 3 {
                    0 => self.r[d] = self.r[d].wrapping_add(self.r[m]),
                    1 => {
                        self.add(self.r[d], !self.r[m], true);
                        return self.go(next);
                    }
                    2 => self.r[d] = self.r[m],
                    _ => {
                        let to = self.r[m];
                        if op >> 7 & 1 == 1 {
                            self.r[LR] = next | 1;
                        }
                        self.jump(to);
                        return Step::Done;
                    }
                }
                if d == PC {
                    next = self.r[PC] & !1;
                }
            }
            9 => {
                let from = (self.r[PC] & !3) + 4 * byte;
                self.r[t] = load(bus, from, 4);
            }
            10 | 11 => {
                let to = self.r[n].wrapping_add(self.r[m]);
                match op >> 9 & 7 {
                    0 => store(bus, to, 4, self.r[d]),
                    1 => store(bus, to, 2, self.r[d]),
                    2 => store(bus, to, 1, self.r[d]),
                    3 => self.r[d] = signed(load(bus, to, 1), 8),
                    4 => self.r[d] = load(bus, to, 4),
                    5 => self.r[d] = load(bus, to, 2),
                    6 => self.r[d] = load(bus, to, 1),
                    _ => self.r[d] = signed(load(bus, to, 2), 16),
                }
            }
            kind @ 12..=17 => {
                let bytes = [4, 1, 2][usize::from(kind - 12) / 2];
                let at = self.r[n].wrapping_add(five * bytes);
                if kind & 1 == 1 {
                    self.r[d] = load(bus, at, bytes);
                } else {
                    store(bus, at, bytes, self.r[d]);
                }
            }
            18 => store(bus, self.r[SP].wrapping_add(4 * byte), 4, self.r[t]),
            19 => self.r[t] = load(bus, self.r[SP].wrapping_add(4 * byte), 4),
            20 => self.r[t] = (self.r[PC] & !3) + 4 * byte,
            21 => self.r[t] = self.r[SP].wrapping_add(4 * byte),
            22 | 23 => match op >> 8 & 15 {
                0 if op >> 7 & 1 == 0 => {
                    self.r[SP] = self.r[SP].wrapping_add(4 * (byte & 127));
                }
                0 => self.r[SP] = self.r[SP].wrapping_sub(4 * (byte & 127)),
                2 => {
                    let value = self.r[n];
                    self.r[d] = match op >> 6 & 3 {
                        0 => signed(value, 16),
                        1 => signed(value, 8),
                        2 => value & 0xffff,
                        _ => value & 0xff,
                    };
                }
                4 | 5 => {
                    let list = byte | u32::from(op >> 8 & 1) << LR;
                    let start = self.r[SP].wrapping_sub(4 * list.count_ones());
                    self.r[SP] = start;
                    self.many(bus, list, start, false);
                }
                12 | 13 => {
                    let list = byte | u32::from(op >> 8 & 1) << PC;
                    let end = self.many(bus, list, self.r[SP], true);
                    self.r[SP] = end;
                    if list >> PC == 1 {
                        next = self.r[PC] & !1;
                    }
                }
                10 => {
                    let value = self.r[n];
                    self.r[d] = match op >> 6 & 3 {
                        0 => value.swap_bytes(),
                        1 => value.swap_bytes().rotate_left(16),
                        _ => signed(value.swap_bytes() >> 16, 16),
                    };
                }
                14 => {
                    self.r[PC] = at;
                    return Step::Breakpoint;
                }
                // Interrupts on and off, and hints.
                6 | 15 => {}
                _ => return Step::Undefined(op),
            },
            kind @ (24 | 25) => {
                let end = self.many(bus, byte, self.r[t], kind == 25);
                if kind == 24 || byte >> t & 1 == 0 {
                    self.r[t] = end;
                }
            }
            26 | 27 => match op >> 8 & 15 {
                14 | 15 => return Step::Undefined(op),
                condition if self.holds(condition) => {
                    next = self.r[PC].wrapping_add(2 * signed(byte, 8));
                }
                _ => {}
            },
            28 => next = self.r[PC].wrapping_add(2 * signed(field(0, 11) as u32, 11)),
            30 => {
                let second = load(bus, next, 2);
                next = next.wrapping_add(2);
                if second >> 14 == 3 {
                    let s = u32::from(op >> 10 & 1);
                    let bit = |at: u32| 1 ^ (second >> at & 1) ^ s;
                    let offset = s << 23
                        | bit(13) << 22
                        | bit(11) << 21
                        | (field(0, 10) as u32) << 11
                        | second & 0x7ff;
                    self.r[LR] = next | 1;
                    next = next.wrapping_add(2 * signed(offset, 24));
                }
                // Else a barrier or a special register.
            }
            _ => return Step::Undefined(op),
        }
        self.go(next)
    }

    fn go(&mut self, next: u32) -> Step {
        self.r[PC] = next;
        Step::Done
    }

    /// Loads or stores registers, the lowest first; returns what comes after them.
    fn many(&mut self, bus: &mut impl Bus, list: u32, from: u32, loads: bool) -> u32 {
        let listed = (0..16).filter(|i| list >> i & 1 == 1);
        listed.fold(from, |at, i| {
            if loads {
                self.r[i] = load(bus, at, 4);
            } else {
                store(bus, at, 4, self.r[i]);
            }
            at.wrapping_add(4)
        })
    }

    /// The sixteen operations of two registers.
    fn data(&mut self, operation: u16, d: usize, m: usize) {
        let (a, b) = (self.r[d], self.r[m]);
        let result = match operation {
            0 | 8 => self.flags(a & b),
            1 => self.flags(a ^ b),
            2 => self.shift(0, a, b & 255),
            3 => self.shift(1, a, b & 255),
            4 => self.shift(2, a, b & 255),
            5 => self.add(a, b, self.c),
            6 => self.add(a, !b, self.c),
            7 => self.shift(3, a, b & 255),
            9 => self.add(0, !b, true),
            10 => self.add(a, !b, true),
            11 => self.add(a, b, false),
            12 => self.flags(a | b),
            13 => self.flags(a.wrapping_mul(b)),
            14 => self.flags(a & !b),
            _ => self.flags(!b),
        };
        // Tests and comparisons only leave flags.
        if !matches!(operation, 8 | 10 | 11) {
            self.r[d] = result;
        }
    }
}
