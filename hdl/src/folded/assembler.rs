//! A small assembler for the microprogram of the [machine](super::machine).
//!
//! A line holds a label `name:`, a directive or one instruction; `;` starts a
//! comment. Operands are `name` (a word of the register memory), `#value` (a
//! constant, which gets a word of its own), `V[i++]` (a memory at a pointer,
//! which may move on) and a few sources that stand alone (`sum`, `step3.low`,
//! ...). `.word name count` declares variables.

use std::collections::{BTreeMap, HashMap};

/// Instructions with an operand, in the order of their codes.
const ALU: [&str; 10] = [
    "ld", "add", "sub", "rsb", "and", "xor", "prng", "max", "mul", "mac",
];
/// The code of `st`.
pub const STORE: u16 = 10;
/// The code of everything that acts on the accumulator alone, or on the machine.
pub const OTHER: u16 = 11;

/// Nothing. Before what asks whether A is zero, and twice before what asks how long it
/// is: the machine has looked at A a cycle or two earlier.
const NOP: u16 = OTHER << 12;

/// What `OTHER` does, in the order of its codes (bits 8 to 11).
pub const OTHERS: [&str; 10] = [
    "nop", "change", "rshr", "shr", "setn", "setn5", "n", "point", "set", "order",
];
/// Changes of the accumulator, in the order of their codes.
pub const CHANGES: [&str; 5] = ["magnitude", "len", "rol3", "high", "half"];
/// Registers that `set` copies the accumulator to.
pub const SETS: [&str; 13] = [
    "count", "wide", "words", "from", "with", "skip", "target", "go", "noise", "factor", "bias",
    "scales", "source",
];
/// Orders to the units around.
pub const ORDERS: [&str; 12] = [
    "rest", "start", "finish", "stop", "bad", "pop", "clear", "first", "next", "crc", "restart",
    "moved",
];
/// Branches, in the order of their codes.
pub const BRANCHES: [&str; 12] = [
    "jump", "loop", "call", "ret", "jz", "jnz", "jn", "jp", "jcarry", "jinput", "jfull", "jstopped",
];

/// Where an operand comes from or goes to (bits 8 to 11).
pub mod space {
    /// The register memory at the address in the instruction.
    pub const REGISTER: u16 = 0;
    /// A word of the current step.
    pub const STEP: u16 = 2;
    /// One of [`super::SOURCES`].
    pub const SOURCE: u16 = 3;
    /// The register memory at a pointer.
    pub const INDIRECT: u16 = 4;
    /// Vectors of 16 bits.
    pub const VECTOR: u16 = 5;
    /// Tables.
    pub const TABLE: u16 = 6;
    /// Key scales, to be written.
    pub const KEY_SCALE: u16 = 7;
    /// The oldest input token, or the newest output token.
    pub const QUEUE: u16 = 9;
    /// Mantissas for the array, a byte each.
    pub const MANTISSA: u16 = 10;
    /// Logits.
    pub const LOGIT: u16 = 11;
    /// The byte of the wide memory that `set wide` chose.
    pub const WIDE: u16 = 12;
    /// Vectors of 16 bits, with their magnitude collected.
    pub const MEASURED: u16 = 13;
    /// For the link alone: a whole entry of the row scales.
    pub const ROW_ENTRY: u16 = MANTISSA;
    /// For the link alone: a whole entry of the key scales.
    pub const KEY_ENTRY: u16 = 14;
    /// For the link alone: a lane of the wide memory.
    pub const LANE: u16 = WIDE;
    /// For the link alone: two elements of a vector.
    pub const PAIR: u16 = 15;
}

/// Operands without a memory, in the order of their codes.
pub const SOURCES: [&str; 7] = [
    "sum",
    "magnitudes",
    "cycles",
    "tail",
    "scale",
    "mu",
    "random",
];

/// What is read of a step's word: all of it, half of it, or ten bits.
pub const PARTS: [&str; 4] = ["whole", "low", "high", "ten"];

/// A memory reached through a pointer, by the letter that names it.
const MEMORIES: [(&str, u16); 7] = [
    ("R", space::INDIRECT),
    ("V", space::VECTOR),
    ("T", space::TABLE),
    ("K", space::KEY_SCALE),
    ("X", space::MANTISSA),
    ("L", space::LOGIT),
    ("M", space::MEASURED),
];

/// An assembled program.
pub struct Program {
    /// The instructions.
    pub words: Vec<u16>,
    /// What the register memory holds at first: constants.
    pub registers: BTreeMap<u32, u32>,
    /// Address of each variable.
    pub variables: HashMap<String, u32>,
}

/// Assembles `source`. `symbols` are values that it names, `names` registers
/// that have their places already; variables and constants go from `free` to `limit`.
///
/// # Errors
/// What is wrong with the first line that is.
pub fn assemble(
    source: &str,
    symbols: &HashMap<String, u32>,
    names: &HashMap<String, u32>,
    free: u32,
    limit: u32,
) -> Result<Program, String> {
    let mut assembler = Assembler {
        symbols,
        variables: names.clone(),
        constants: HashMap::new(),
        free,
        words: vec![],
        registers: BTreeMap::new(),
        labels: HashMap::new(),
        jumps: vec![],
    };
    assembler.text(source)?;
    if assembler.free > limit {
        return Err(format!("{} words of registers, of {limit}", assembler.free));
    }
    assembler.link()
}

struct Assembler<'a> {
    symbols: &'a HashMap<String, u32>,
    variables: HashMap<String, u32>,
    constants: HashMap<u32, u32>,
    /// The next unused word of the register memory.
    free: u32,
    words: Vec<u16>,
    registers: BTreeMap<u32, u32>,
    labels: HashMap<String, u16>,
    /// Instructions that await the address of a label.
    jumps: Vec<(usize, String)>,
}

impl Assembler<'_> {
    fn text(&mut self, source: &str) -> Result<(), String> {
        for line in source.lines() {
            let code = line.split(';').next().unwrap_or("").trim();
            if !code.is_empty() {
                self.line(code)
                    .map_err(|error| format!("`{code}`: {error}"))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, code: &str) -> Result<(), String> {
        if let Some(label) = code.strip_suffix(':') {
            if self
                .labels
                .insert(label.into(), self.words.len() as u16)
                .is_some()
            {
                return Err("this label stands twice".into());
            }
            return Ok(());
        }
        let (verb, operand) = code.split_once(' ').unwrap_or((code, ""));
        let operand = operand.trim();
        if verb == ".word" {
            return self.declare(operand);
        }
        if let Some(code) = BRANCHES.iter().position(|b| *b == verb) {
            if matches!(verb, "jz" | "jnz") {
                self.words.push(NOP);
            }
            if verb != "ret" {
                self.jumps.push((self.words.len(), operand.into()));
            }
            self.words.push(0b11 << 14 | (code as u16) << 10);
            return Ok(());
        }
        let word = self.instruction(verb, operand)?;
        if verb == "len" {
            self.words.extend([NOP; 2]);
        }
        self.words.push(word);
        Ok(())
    }

    fn instruction(&mut self, verb: &str, operand: &str) -> Result<u16, String> {
        if let Some(code) = ALU.iter().position(|a| *a == verb) {
            return Ok((code as u16) << 12 | self.operand(operand)?);
        }
        if verb == "st" {
            return Ok(STORE << 12 | self.operand(operand)?);
        }
        let other = |verb: &str, argument: u16| {
            let code = OTHERS.iter().position(|o| *o == verb).unwrap_or(0) as u16;
            Ok(OTHER << 12 | code << 8 | argument)
        };
        if let Some(code) = CHANGES.iter().position(|c| *c == verb) {
            return other("change", code as u16);
        }
        if let Some(code) = ORDERS.iter().position(|o| *o == verb) {
            return other("order", code as u16);
        }
        if let Some(pointer) = operand.chars().next().and_then(pointer) {
            match verb {
                "point" => return other("point", pointer),
                // The five low bits alone: an index into a table at place 0.
                "point5" => return other("point", pointer | 4),
                _ => {}
            }
        }
        match verb {
            "set" => match SETS.iter().position(|s| *s == operand) {
                Some(code) => other("set", code as u16),
                None => Err("no such register".into()),
            },
            "n" => other("n", self.value(operand)? as u16 & 31),
            "nop" | "rshr" | "shr" | "setn" | "setn5" => other(verb, 0),
            _ => Err("no such instruction".into()),
        }
    }

    /// The low twelve bits of an instruction with an operand.
    fn operand(&mut self, text: &str) -> Result<u16, String> {
        if let Some(value) = text.strip_prefix('#') {
            let value = self.value(value)?;
            return Ok(self.constant(value));
        }
        if let Some(code) = SOURCES.iter().position(|s| *s == text) {
            return Ok(space::SOURCE << 8 | code as u16);
        }
        if let Some(step) = text.strip_prefix("step") {
            let (word, part) = step.split_once('.').unwrap_or((step, "whole"));
            let part = PARTS.iter().position(|p| *p == part);
            if let (Ok(word), Some(part)) = (word.parse::<u16>(), part) {
                return Ok(space::STEP << 8 | (part as u16) << 3 | word);
            }
        }
        match text {
            "input" | "output" => return Ok(space::QUEUE << 8),
            "wide" => return Ok(space::WIDE << 8),
            _ => {}
        }
        if let Some((name, inside)) = text.strip_suffix(']').and_then(|t| t.split_once('[')) {
            let memory = MEMORIES.iter().find(|(letter, _)| *letter == name);
            let pointer = inside.chars().next().and_then(pointer);
            let step = match inside.get(1..) {
                Some("") => Some(0),
                Some("++") => Some(4),
                _ => None,
            };
            if let (Some((_, space)), Some(pointer), Some(step)) = (memory, pointer, step) {
                return Ok(space << 8 | pointer | step);
            }
            let (Ok(offset), place) = (inside.parse::<u16>(), self.register(name)?) else {
                return Err("no such operand".into());
            };
            return Ok(place + offset);
        }
        self.register(text)
    }

    fn register(&self, name: &str) -> Result<u16, String> {
        match self.variables.get(name) {
            Some(&place) if place < 256 => Ok(place as u16),
            Some(_) => Err(format!("{name} lies too far")),
            None => Err(format!("no variable {name}")),
        }
    }

    /// The place of a constant.
    fn constant(&mut self, value: u32) -> u16 {
        let place = *self.constants.entry(value).or_insert(self.free);
        if place == self.free {
            self.free += 1;
            self.registers.insert(place, value);
        }
        place as u16
    }

    /// A sum of numbers, symbols and addresses of variables and of labels that stand above.
    fn value(&self, text: &str) -> Result<u32, String> {
        let mut sum = 0u32;
        for term in text
            .replace('-', "+-")
            .split('+')
            .filter(|term| !term.is_empty())
        {
            let (negative, name) = match term.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, term),
            };
            let number = match name.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => name.parse().ok(),
            };
            let value = number
                .or_else(|| self.symbols.get(name).copied())
                .or_else(|| self.variables.get(name).copied())
                .or_else(|| self.labels.get(name).map(|&at| at.into()))
                .ok_or_else(|| format!("no value {name}"))?;
            sum = if negative {
                sum.wrapping_sub(value)
            } else {
                sum.wrapping_add(value)
            };
        }
        Ok(sum)
    }

    /// `.word name [count] [= first, second, ...]`; four or more lie at a multiple of 4.
    fn declare(&mut self, text: &str) -> Result<(), String> {
        let (head, values) = text.split_once('=').unwrap_or((text, ""));
        let mut head = head.split_whitespace();
        let name = head.next().ok_or("a name is missing")?;
        let count = head.next().map_or(Ok(1), |count| self.value(count))?;
        if count >= 4 {
            self.free = self.free.next_multiple_of(4);
        }
        self.variables.insert(name.into(), self.free);
        for (i, value) in values
            .split(',')
            .filter(|value| !value.trim().is_empty())
            .enumerate()
        {
            let value = self.value(value.trim())?;
            self.registers.insert(self.free + i as u32, value);
        }
        self.free += count;
        Ok(())
    }

    fn link(mut self) -> Result<Program, String> {
        if self.words.len() > 1024 {
            return Err(format!("{} instructions, of 1024", self.words.len()));
        }
        for (at, label) in &self.jumps {
            match self.labels.get(label) {
                Some(target) => self.words[*at] |= target,
                None => return Err(format!("no label {label}")),
            }
        }
        Ok(Program {
            words: self.words,
            registers: self.registers,
            variables: self.variables,
        })
    }
}

fn pointer(name: char) -> Option<u16> {
    "ijkl".chars().position(|p| p == name).map(|p| p as u16)
}
