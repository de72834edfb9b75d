//! The machine: threads of a launch, interpreted one at a time in an order drawn
//! at random.

use crate::memory::Memory;
use crate::ptx::{Atomic, Compare, Instruction, Kernel, Op, Source, Space, Special, Type, NOWHERE};

/// Generic addresses from here on are the block's own shared memory.
const SHARED_WINDOW: u64 = 1 << 60;
/// What shared memory holds at a launch.
const GARBAGE: u8 = 0xa5;
/// Lanes of a warp.
const LANES: usize = 32;
/// Instructions after which a launch is taken to run for ever.
const STEP_LIMIT: u64 = 20_000_000_000;
/// Instructions a thread may run before others get their turn.
const LONG_TURN: u32 = 200_000;

/// What went wrong in a launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An access outside of all allocations.
    #[error("an access of {bytes} bytes at {address:#x} is out of bounds (PTX line {line})")]
    Bounds {
        /// Where.
        address: u64,
        /// How much.
        bytes: usize,
        /// By which instruction.
        line: usize,
    },
    /// An access that is not aligned.
    #[error("an access of {bytes} bytes at {address:#x} is misaligned (PTX line {line})")]
    Alignment {
        /// Where.
        address: u64,
        /// How much.
        bytes: usize,
        /// By which instruction.
        line: usize,
    },
    /// A division by zero, which hardware answers with garbage.
    #[error("a division by zero (PTX line {0})")]
    Division(usize),
    /// Lanes of a warp shuffle in different places, or not all of them.
    #[error("a shuffle without its whole warp (PTX line {0})")]
    Shuffle(usize),
    /// Threads wait for others that never come.
    #[error("threads wait for ever at a barrier or a shuffle")]
    Deadlock,
    /// Far more instructions than any kernel needs.
    #[error("the launch does not end")]
    Endless,
    /// A grid, a block or a memory that the device does not have.
    #[error("the launch asks for more than the device has")]
    Resources,
}

/// A launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block, whole warps.
    pub threads: u32,
    /// Bytes of each block's shared memory.
    pub shared: usize,
    /// Whether all blocks are there at once.
    pub cooperative: bool,
}

/// A small generator (xorshift): the order of everything depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    AtBarrier,
    AtWarpBarrier,
    AtShuffle,
    Done,
}

struct Thread {
    at: usize,
    state: State,
    registers: Vec<u64>,
}

/// Run a kernel to its end; instructions run.
///
/// # Errors
/// What a real device would have stopped for, or hung at.
pub fn run(
    kernel: &Kernel,
    parameters: &[u64],
    shape: Shape,
    memory: &Memory,
    random: &mut Random,
) -> Result<u64, Fault> {
    let too_many = kernel.max_threads.is_some_and(|max| shape.threads > max);
    if shape.blocks == 0 || shape.threads == 0 || !shape.threads.is_multiple_of(32) || too_many {
        return Err(Fault::Resources);
    }
    let mut steps = 0;
    let mut blocks: Vec<u32> = (0..shape.blocks).collect();
    for i in (1..blocks.len()).rev() {
        blocks.swap(i, random.below(i + 1));
    }
    // Blocks that are not bound to meet come one by one, or a few at a time.
    let together = if shape.cooperative {
        blocks.len()
    } else {
        1 + random.below(3)
    };
    for blocks in blocks.chunks(together) {
        let mut gang = Gang::new(kernel, parameters, shape, memory, blocks, steps);
        gang.run(random)?;
        steps = gang.steps;
    }
    Ok(steps)
}

/// Blocks that run at the same time.
struct Gang<'a> {
    kernel: &'a Kernel,
    parameters: &'a [u64],
    shape: Shape,
    ranges: Vec<(u64, u64)>,
    last_range: usize,
    blocks: &'a [u32],
    shared: Vec<Vec<u64>>,
    threads: Vec<Thread>,
    steps: u64,
}

impl<'a> Gang<'a> {
    fn new(
        kernel: &'a Kernel,
        parameters: &'a [u64],
        shape: Shape,
        memory: &Memory,
        blocks: &'a [u32],
        steps: u64,
    ) -> Self {
        let garbage = u64::from_ne_bytes([GARBAGE; 8]);
        let thread = || Thread {
            at: 0,
            state: State::Ready,
            registers: vec![0; kernel.registers],
        };
        let threads = blocks.len() * shape.threads as usize;
        Gang {
            kernel,
            parameters,
            shape,
            ranges: memory.ranges(),
            last_range: 0,
            blocks,
            shared: vec![vec![garbage; shape.shared.div_ceil(8)]; blocks.len()],
            threads: (0..threads).map(|_| thread()).collect(),
            steps,
        }
    }

    fn run(&mut self, random: &mut Random) -> Result<(), Fault> {
        let warps = self.threads.len() / LANES;
        let a_block = self.shape.threads as usize;
        // Three kinds of order: in turn, in short turns, and with warps that starve.
        let kind = random.below(3);
        let (mut starving, mut hungry_for) = (usize::MAX, 0);
        loop {
            let mut moved = false;
            if hungry_for == 0 && kind == 2 && warps > 1 {
                (starving, hungry_for) = (random.below(warps), 1 + random.below(40));
            }
            hungry_for -= usize::from(hungry_for > 0);
            let first = random.below(warps);
            for i in 0..warps {
                let warp = (first + i) % warps;
                if hungry_for > 0 && warp == starving {
                    moved = true;
                    continue;
                }
                if kind == 1 && random.below(4) == 0 {
                    moved = true;
                    continue;
                }
                let turn = if kind == 1 {
                    1 + random.below(60) as u32
                } else {
                    LONG_TURN
                };
                moved |= self.run_warp(warp, random.below(LANES), turn)?;
            }
            for block in self.threads.chunks_exact_mut(a_block) {
                if block.iter().all(|t| t.state == State::AtBarrier) {
                    block.iter_mut().for_each(|t| t.state = State::Ready);
                    moved = true;
                }
            }
            if self.threads.iter().all(|t| t.state == State::Done) {
                return Ok(());
            }
            if !moved {
                return Err(Fault::Deadlock);
            }
            if self.steps > STEP_LIMIT {
                return Err(Fault::Endless);
            }
        }
    }

    /// Whether any lane of the warp moved.
    fn run_warp(&mut self, warp: usize, first: usize, turn: u32) -> Result<bool, Fault> {
        let start = warp * LANES;
        let mut moved = false;
        for i in 0..LANES {
            let thread = start + (first + i) % LANES;
            if self.threads[thread].state == State::Ready {
                self.run_thread(thread, turn)?;
                moved = true;
            }
        }
        let kernel = self.kernel;
        let lanes = &mut self.threads[start..start + LANES];
        if lanes.iter().all(|t| t.state == State::AtWarpBarrier) {
            lanes.iter_mut().for_each(|t| t.state = State::Ready);
            moved = true;
        }
        if lanes.iter().all(|t| t.state == State::AtShuffle) {
            let at = lanes[0].at;
            let instruction = &kernel.code[at - 1];
            if lanes.iter().any(|t| t.at != at) {
                return Err(Fault::Shuffle(instruction.line));
            }
            shuffle(instruction, lanes)?;
            moved = true;
        }
        Ok(moved)
    }

    fn run_thread(&mut self, index: usize, turn: u32) -> Result<(), Fault> {
        let a_block = self.shape.threads as usize;
        let (block, thread) = (index / a_block, index % a_block);
        let mut registers = std::mem::take(&mut self.threads[index].registers);
        let mut at = self.threads[index].at;
        let kernel = self.kernel;
        let mut state = State::Ready;
        let mut result = Ok(());
        for _ in 0..turn {
            let instruction = &kernel.code[at];
            at += 1;
            self.steps += 1;
            if let Some((register, needed)) = instruction.guard {
                if (registers[register as usize] & 1 == 1) != needed {
                    continue;
                }
            }
            match instruction.op {
                Op::Branch => at = instruction.target,
                Op::Barrier => state = State::AtBarrier,
                Op::WarpBarrier => state = State::AtWarpBarrier,
                Op::Butterfly => state = State::AtShuffle,
                Op::Return => state = State::Done,
                _ => match self.execute(instruction, &mut registers, block, thread) {
                    Ok(true) => {}
                    // Others see what a volatile access is about before this one goes on.
                    Ok(false) => break,
                    Err(fault) => {
                        result = Err(fault);
                        break;
                    }
                },
            }
            if state != State::Ready {
                break;
            }
        }
        let thread = &mut self.threads[index];
        (thread.registers, thread.at, thread.state) = (registers, at, state);
        result
    }

    /// Run an instruction that stays in the thread; whether the turn goes on.
    #[inline(always)]
    fn execute(
        &mut self,
        i: &Instruction,
        registers: &mut [u64],
        block: usize,
        thread: usize,
    ) -> Result<bool, Fault> {
        let shape = self.shape;
        let (number, steps) = (self.blocks[block], self.steps);
        let raw = |n: usize, registers: &[u64]| match i.from[n] {
            Source::Register(r) => registers[r as usize],
            Source::Immediate(value) => value,
            Source::Special(special) => match special {
                Special::Thread => thread as u64,
                Special::Threads => shape.threads.into(),
                Special::Block => number.into(),
                Special::Blocks => shape.blocks.into(),
                Special::Lane => (thread % LANES) as u64,
                Special::Clock => steps,
                Special::Zero => 0,
                Special::One => 1,
            },
        };
        let ty = i.ty;
        let value = |n: usize| ty.extend(raw(n, registers));
        let wide = |n: usize| i128::from(value(n)) & wide_mask(ty);
        let result = match i.op {
            Op::Move => raw(0, registers),
            Op::Convert => i.ty2.extend(raw(0, registers)) as u64,
            Op::Pack => {
                let half = ty.bits / 2;
                let mask = (1u64 << half) - 1;
                (raw(0, registers) & mask) | (raw(1, registers) & mask) << half
            }
            Op::Unpack => {
                let (value, half) = (raw(0, registers), ty.bits / 2);
                registers[i.to[0] as usize] = value & ((1 << half) - 1);
                registers[i.to[1] as usize] = value >> half;
                return Ok(true);
            }
            Op::Add => value(0).wrapping_add(value(1)) as u64,
            Op::Sub => value(0).wrapping_sub(value(1)) as u64,
            Op::MulLow => value(0).wrapping_mul(value(1)) as u64,
            Op::MulHigh => ((wide(0) * wide(1)) >> ty.bits) as u64,
            Op::MadLow => value(0).wrapping_mul(value(1)).wrapping_add(value(2)) as u64,
            Op::MulWide | Op::MadWide => {
                let double = Type {
                    bits: ty.bits * 2,
                    ..ty
                };
                let product = value(0).wrapping_mul(value(1));
                let sum = if i.op == Op::MadWide {
                    product.wrapping_add(raw(2, registers) as i64)
                } else {
                    product
                };
                registers[i.to[0] as usize] = double.mask(sum as u64);
                return Ok(true);
            }
            Op::Div | Op::Rem => {
                let (a, b) = (wide(0), wide(1));
                if b == 0 {
                    return Err(Fault::Division(i.line));
                }
                (if i.op == Op::Div { a / b } else { a % b }) as u64
            }
            Op::And => raw(0, registers) & raw(1, registers),
            Op::Or => raw(0, registers) | raw(1, registers),
            Op::Xor => raw(0, registers) ^ raw(1, registers),
            Op::Not => !raw(0, registers),
            Op::Neg => value(0).wrapping_neg() as u64,
            Op::Abs => value(0).wrapping_abs() as u64,
            Op::Min => wide(0).min(wide(1)) as u64,
            Op::Max => wide(0).max(wide(1)) as u64,
            Op::ShiftLeft => {
                let by = Type::U32.mask(raw(1, registers));
                if by >= u64::from(ty.bits) {
                    0
                } else {
                    raw(0, registers) << by
                }
            }
            Op::ShiftRight => {
                let by = Type::U32.mask(raw(1, registers));
                if ty.signed {
                    (value(0) >> by.min(u64::from(ty.bits) - 1)) as u64
                } else if by >= u64::from(ty.bits) {
                    0
                } else {
                    ty.mask(raw(0, registers)) >> by
                }
            }
            Op::Funnel(left, wrap) => {
                let both = Type::U32.mask(raw(0, registers)) | raw(1, registers) << 32;
                let by = Type::U32.mask(raw(2, registers));
                let by = if wrap { by & 31 } else { by.min(32) };
                if left {
                    both << by >> 32
                } else {
                    both >> by
                }
            }
            Op::Set(compare) => {
                let (a, b) = (wide(0), wide(1));
                u64::from(match compare {
                    Compare::Equal => a == b,
                    Compare::NotEqual => a != b,
                    Compare::Less => a < b,
                    Compare::LessEqual => a <= b,
                    Compare::Greater => a > b,
                    Compare::GreaterEqual => a >= b,
                })
            }
            Op::Select => raw(if raw(2, registers) & 1 == 1 { 0 } else { 1 }, registers),
            Op::LeadingZeros => {
                u64::from(ty.mask(raw(0, registers)).leading_zeros() + ty.bits - 64)
            }
            Op::InsertBits => {
                let (from, into) = (raw(0, registers), raw(1, registers));
                let (at, length) = (raw(2, registers) & 255, raw(3, registers) & 255);
                let mask = ones(length) << at.min(63);
                (into & !mask) | (from << at.min(63) & mask)
            }
            Op::ExtractBits => {
                let (at, length) = (raw(1, registers) & 255, raw(2, registers) & 255);
                let field = ty.mask(raw(0, registers)) >> at.min(63) & ones(length);
                if ty.signed && length > 0 && field >> (length - 1) & 1 == 1 {
                    field | !ones(length)
                } else {
                    field
                }
            }
            Op::Permute => {
                let both = Type::U32.mask(raw(0, registers)) | raw(1, registers) << 32;
                let selector = raw(2, registers);
                (0..4).fold(0, |all, n| {
                    let nibble = selector >> (4 * n) & 15;
                    let byte = both >> (8 * (nibble & 7)) & 255;
                    let byte = if nibble & 8 == 0 {
                        byte
                    } else {
                        (byte >> 7) * 255
                    };
                    all | byte << (8 * n)
                })
            }
            Op::Dot4 => {
                let element = |n: usize, ty: Type, at: u32| {
                    let byte = Type { bits: 8, ..ty };
                    byte.extend(raw(n, registers) >> (8 * at)) as i32
                };
                let sum = (0..4).fold(raw(2, registers) as i32, |sum, at| {
                    sum.wrapping_add(element(0, ty, at) * element(1, i.ty2, at))
                });
                sum as u64
            }
            Op::ToGeneric => raw(0, registers) + SHARED_WINDOW,
            Op::Load(space, volatile) => {
                let address = raw(0, registers).wrapping_add(i.offset as u64);
                self.load(i, space, address, registers, block)?;
                return Ok(!volatile);
            }
            Op::Store(space, volatile) => {
                let address = raw(0, registers).wrapping_add(i.offset as u64);
                let bytes = ty.bytes();
                let all = bytes * i.width as usize;
                let place = self.place(space, address, all, block, i.line)?;
                for n in 0..i.width as usize {
                    let value = raw(1 + n, registers).to_le_bytes();
                    // SAFETY: `place` is good for `all` bytes.
                    unsafe { place.add(n * bytes).copy_from(value.as_ptr(), bytes) };
                }
                return Ok(!volatile);
            }
            Op::Atomic(space, kind) => {
                let address = raw(0, registers).wrapping_add(i.offset as u64);
                let operand = raw(1, registers);
                let bytes = ty.bytes();
                let place = self.place(space, address, bytes, block, i.line)?;
                let mut old = [0; 8];
                // SAFETY: `place` is good for `bytes` bytes.
                unsafe { place.copy_to(old.as_mut_ptr(), bytes) };
                let old = u64::from_le_bytes(old);
                let (a, b) = (ty.extend(old), ty.extend(operand));
                let (wide_a, wide_b) =
                    (i128::from(a) & wide_mask(ty), i128::from(b) & wide_mask(ty));
                let new = match kind {
                    Atomic::Add => a.wrapping_add(b) as u64,
                    Atomic::Exchange => operand,
                    Atomic::Max => wide_a.max(wide_b) as u64,
                    Atomic::Min => wide_a.min(wide_b) as u64,
                    Atomic::Or => old | operand,
                };
                // SAFETY: as above.
                unsafe { place.copy_from(new.to_le_bytes().as_ptr(), bytes) };
                old
            }
            Op::Nothing => return Ok(true),
            Op::Branch | Op::Barrier | Op::WarpBarrier | Op::Butterfly | Op::Return => {
                return Ok(true)
            }
        };
        if i.to[0] != NOWHERE {
            let ty = if matches!(i.op, Op::Set(_)) {
                Type { bits: 1, ..ty }
            } else if i.op == Op::LeadingZeros {
                Type::U32
            } else {
                ty
            };
            registers[i.to[0] as usize] = ty.mask(result);
        }
        Ok(true)
    }

    fn load(
        &mut self,
        i: &Instruction,
        space: Space,
        address: u64,
        registers: &mut [u64],
        block: usize,
    ) -> Result<(), Fault> {
        if space == Space::Parameter {
            // The operand is the parameter's number.
            let value = self.parameters.get(address as usize).copied();
            registers[i.to[0] as usize] = i.ty.mask(value.unwrap_or(0));
            return Ok(());
        }
        let bytes = i.ty.bytes();
        let all = bytes * i.width as usize;
        let place = self.place(space, address, all, block, i.line)?;
        for n in 0..i.width as usize {
            let mut value = [0; 8];
            // SAFETY: `place` is good for `all` bytes.
            unsafe { place.add(n * bytes).copy_to(value.as_mut_ptr(), bytes) };
            // A register may be wider than what is loaded: the sign goes on.
            registers[i.to[n] as usize] = i.ty.extend(u64::from_le_bytes(value)) as u64;
        }
        Ok(())
    }

    /// The host's address of a checked access.
    fn place(
        &mut self,
        space: Space,
        address: u64,
        bytes: usize,
        block: usize,
        line: usize,
    ) -> Result<*mut u8, Fault> {
        let fault = Fault::Bounds {
            address,
            bytes,
            line,
        };
        if !address.is_multiple_of(bytes as u64) {
            return Err(Fault::Alignment {
                address,
                bytes,
                line,
            });
        }
        if space == Space::Shared || space == Space::Generic && address >= SHARED_WINDOW {
            let at = (address & (SHARED_WINDOW - 1)) as usize;
            if at + bytes > self.shape.shared {
                return Err(fault);
            }
            let shared = self.shared[block].as_mut_ptr().cast::<u8>();
            // SAFETY: within the block's shared memory.
            return Ok(unsafe { shared.add(at) });
        }
        let holds = |range: &(u64, u64)| range.0 <= address && address + bytes as u64 <= range.1;
        if !self.ranges.get(self.last_range).is_some_and(holds) {
            self.last_range = self.ranges.iter().position(holds).ok_or(fault)?;
        }
        Ok(address as *mut u8)
    }
}

/// 64 bits without sign must not look negative.
fn wide_mask(ty: Type) -> i128 {
    if ty.bits == 64 && !ty.signed {
        i128::from(u64::MAX)
    } else {
        -1
    }
}

fn ones(length: u64) -> u64 {
    if length >= 64 {
        u64::MAX
    } else {
        (1 << length) - 1
    }
}

/// `shfl.sync.bfly to|done, value, distance, 31, -1`: all lanes are there.
fn shuffle(i: &Instruction, lanes: &mut [Thread]) -> Result<(), Fault> {
    let read = |thread: &Thread, n: usize| match i.from[n] {
        Source::Register(r) => thread.registers[r as usize],
        Source::Immediate(value) => value,
        Source::Special(_) => 0,
    };
    let whole = |thread: &Thread| read(thread, 2) & 31 == 31 && read(thread, 3) as u32 == u32::MAX;
    if !lanes.iter().all(whole) {
        return Err(Fault::Shuffle(i.line));
    }
    let values: Vec<u64> = lanes.iter().map(|t| Type::U32.mask(read(t, 0))).collect();
    for (lane, thread) in lanes.iter_mut().enumerate() {
        let from = lane ^ (read(thread, 1) as usize & 31);
        thread.registers[i.to[0] as usize] = values[from];
        if i.width == 2 {
            thread.registers[i.to[1] as usize] = 1;
        }
        thread.state = State::Ready;
    }
    Ok(())
}
