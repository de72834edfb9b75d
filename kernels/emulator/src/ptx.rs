//! PTX as text into instructions: the integer part of the language, as compilers
//! write it.

use std::collections::HashMap;

/// What the text does that this machine does not know, and where.
#[derive(Debug, thiserror::Error)]
#[error("PTX line {line}: {what}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Width and sign of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// 1 (a predicate), 8, 16, 32 or 64 bits.
    pub bits: u32,
    /// Whether it is signed.
    pub signed: bool,
}

impl Type {
    /// 32 bits without sign.
    pub const U32: Type = Type {
        bits: 32,
        signed: false,
    };

    fn parse(name: &str) -> Option<Type> {
        if name == "pred" {
            return Some(Type {
                bits: 1,
                signed: false,
            });
        }
        let (kind, bits) = (name.get(..1)?, name.get(1..)?.parse().ok()?);
        let signed = match kind {
            "s" => true,
            "u" | "b" => false,
            _ => return None,
        };
        [8, 16, 32, 64]
            .contains(&bits)
            .then_some(Type { bits, signed })
    }

    /// Bytes in memory.
    pub fn bytes(self) -> usize {
        (self.bits as usize).div_ceil(8)
    }

    /// The bits that the type has.
    pub fn mask(self, value: u64) -> u64 {
        if self.bits == 64 {
            value
        } else {
            value & ((1 << self.bits) - 1)
        }
    }

    /// The number that these bits stand for.
    pub fn extend(self, value: u64) -> i64 {
        let value = self.mask(value);
        if self.signed && self.bits < 64 {
            let unused = 64 - self.bits;
            ((value << unused) as i64) >> unused
        } else {
            value as i64
        }
    }
}

/// Registers that the machine sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Thread of the block.
    Thread,
    /// Threads of a block.
    Threads,
    /// Block of the grid.
    Block,
    /// Blocks of the grid.
    Blocks,
    /// Lane of the warp.
    Lane,
    /// A clock.
    Clock,
    /// A dimension that is not used.
    Zero,
    /// The size of a dimension that is not used.
    One,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A register.
    Register(u32),
    /// A number, or a symbol's address.
    Immediate(u64),
    /// A register of the machine's.
    Special(Special),
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The kernel's parameters.
    Parameter,
    /// The device's memory.
    Global,
    /// The block's memory.
    Shared,
    /// Either, told by the address.
    Generic,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Operations. A name says what PTX says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Move,
    Pack,
    Unpack,
    Convert,
    Add,
    Sub,
    MulLow,
    MulWide,
    MulHigh,
    MadLow,
    MadWide,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Not,
    Neg,
    Abs,
    Min,
    Max,
    ShiftLeft,
    ShiftRight,
    /// Left (true) or right, wrapping (true) or clamping.
    Funnel(bool, bool),
    Set(Compare),
    Select,
    LeadingZeros,
    InsertBits,
    ExtractBits,
    Permute,
    Dot4,
    Load(Space, bool),
    Store(Space, bool),
    Atomic(Space, Atomic),
    ToGeneric,
    Branch,
    Barrier,
    WarpBarrier,
    Butterfly,
    Return,
    Nothing,
}

/// Atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Atomic {
    Add,
    Exchange,
    Max,
    Min,
    Or,
}

/// An instruction, ready to run.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Register and value that it needs to have.
    pub guard: Option<(u32, bool)>,
    /// What to do.
    pub op: Op,
    /// On what.
    pub ty: Type,
    /// A second type: of a conversion's source, of `dp4a`'s second vector.
    pub ty2: Type,
    /// Registers written, or [`NOWHERE`].
    pub to: [u32; 4],
    /// Of those, how many count.
    pub width: u32,
    /// Values read; a store's values, a load's address first.
    pub from: [Source; 5],
    /// Added to the address.
    pub offset: i64,
    /// Where a branch leads.
    pub target: usize,
    /// Line of the text.
    pub line: usize,
}

/// No register.
pub const NOWHERE: u32 = u32::MAX;

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Bytes of its parameters, in order.
    pub parameters: Vec<usize>,
    /// Its code.
    pub code: Vec<Instruction>,
    /// Registers of a thread.
    pub registers: usize,
    /// Most threads of a block, where the kernel says.
    pub max_threads: Option<u32>,
}

/// A text's kernels.
#[derive(Debug)]
pub struct Module {
    /// By name.
    pub kernels: HashMap<String, std::sync::Arc<Kernel>>,
}

/// Read a module. `place` gets the initial bytes of a global variable and answers
/// with its address.
///
/// # Errors
/// The first line that this machine does not know.
pub fn parse(text: &str, mut place: impl FnMut(&[u8]) -> u64) -> Result<Module, ParseError> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").trim())
        .collect();
    let mut symbols = HashMap::new();
    let mut kernels = HashMap::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.contains(".entry") {
            let mut reader = Reader::new(&lines, &symbols);
            let (kernel, next) = reader.kernel(at)?;
            kernels.insert(kernel.name.clone(), std::sync::Arc::new(kernel));
            at = next;
            continue;
        }
        if let Some(rest) = line.strip_prefix(".global") {
            let (name, bytes) = variable(rest).ok_or_else(|| error(at, "a variable"))?;
            symbols.insert(name, place(&bytes));
        } else if line.contains(".shared") {
            let name = line.trim_end_matches(';').split_whitespace().last();
            let name = name.and_then(|n| n.split('[').next());
            symbols.insert(name.unwrap_or_default().to_string(), 0);
        }
        at += 1;
    }
    Ok(Module { kernels })
}

fn error(at: usize, what: impl Into<String>) -> ParseError {
    ParseError {
        line: at + 1,
        what: what.into(),
    }
}

/// ` .align 2 .b8 NAME[4] = {1, 2, 3, 4};`
fn variable(text: &str) -> Option<(String, Vec<u8>)> {
    let (head, rest) = text.split_once('[')?;
    let (size, rest) = rest.split_once(']')?;
    let mut bytes = vec![0; size.parse().ok()?];
    if let Some((_, list)) = rest.split_once('{') {
        for (byte, value) in bytes.iter_mut().zip(list.trim_end_matches("};").split(',')) {
            *byte = value.trim().parse().ok()?;
        }
    }
    Some((head.split_whitespace().last()?.to_string(), bytes))
}

struct Reader<'a> {
    lines: &'a [&'a str],
    symbols: &'a HashMap<String, u64>,
    registers: HashMap<&'a str, u32>,
    labels: HashMap<&'a str, usize>,
    parameters: HashMap<&'a str, usize>,
}

impl<'a> Reader<'a> {
    fn new(lines: &'a [&'a str], symbols: &'a HashMap<String, u64>) -> Self {
        Reader {
            lines,
            symbols,
            registers: HashMap::new(),
            labels: HashMap::new(),
            parameters: HashMap::new(),
        }
    }

    /// The kernel whose `.entry` is at `at`, and the line behind it.
    fn kernel(&mut self, mut at: usize) -> Result<(Kernel, usize), ParseError> {
        let unfinished = || error(at, "a kernel without an end");
        let name = self.lines[at].split(".entry").nth(1).unwrap_or("");
        let name = name.trim().trim_end_matches('(').to_string();
        let length = |at: usize, end: &str| {
            let rest = self.lines.get(at..).unwrap_or(&[]);
            rest.iter().position(|l| l.starts_with(end))
        };
        let end = at + length(at, ")").ok_or_else(unfinished)?;
        let start = end + length(end, "{").ok_or_else(unfinished)?;
        let close = start + length(start, "}").ok_or_else(unfinished)?;
        let mut parameters = vec![];
        while at < end {
            at += 1;
            if let Some(text) = self.lines[at].strip_prefix(".param .") {
                let mut words = text.trim_end_matches(',').split_whitespace();
                let ty = words.next().and_then(Type::parse);
                let ty = ty.ok_or_else(|| error(at, "a parameter"))?;
                self.parameters
                    .insert(words.next().unwrap_or(""), parameters.len());
                parameters.push(ty.bytes());
            }
        }
        let limit = self.lines[end..start]
            .iter()
            .find_map(|l| l.strip_prefix(".maxntid"));
        let max_threads = limit.and_then(|l| l.split(',').next()?.trim().parse().ok());

        let is_code = |l: &str| !l.is_empty() && !l.starts_with('.') && !l.ends_with(':');
        let mut count = 0;
        for line in &self.lines[start + 1..close] {
            if let Some(label) = line.strip_suffix(':') {
                self.labels.insert(label, count);
            }
            count += usize::from(is_code(line));
        }
        let mut code = Vec::with_capacity(count);
        for at in start + 1..close {
            if is_code(self.lines[at]) {
                code.push(self.instruction(at)?);
            }
        }
        let kernel = Kernel {
            name,
            parameters,
            code,
            registers: self.registers.len(),
            max_threads,
        };
        Ok((kernel, close + 1))
    }

    fn register(&mut self, name: &'a str) -> u32 {
        let next = self.registers.len() as u32;
        *self.registers.entry(name).or_insert(next)
    }

    fn source(&mut self, text: &'a str, at: usize) -> Result<Source, ParseError> {
        let special = match text {
            "%tid.x" => Some(Special::Thread),
            "%ntid.x" => Some(Special::Threads),
            "%ctaid.x" => Some(Special::Block),
            "%nctaid.x" => Some(Special::Blocks),
            "%laneid" => Some(Special::Lane),
            "%clock64" | "%clock" => Some(Special::Clock),
            "%tid.y" | "%tid.z" | "%ctaid.y" | "%ctaid.z" => Some(Special::Zero),
            "%ntid.y" | "%ntid.z" | "%nctaid.y" | "%nctaid.z" => Some(Special::One),
            _ => None,
        };
        if let Some(special) = special {
            return Ok(Source::Special(special));
        }
        if text.starts_with('%') {
            return Ok(Source::Register(self.register(text)));
        }
        let symbol = self.symbols.get(text).copied();
        let parameter = self.parameters.get(text).map(|&p| p as u64);
        let signed = text.parse::<i64>().ok().map(|n| n as u64);
        let hex = text
            .strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits.trim_end_matches('U'), 16).ok());
        symbol
            .or(parameter)
            .or(signed)
            .or(text.parse().ok())
            .or(hex)
            .map(Source::Immediate)
            .ok_or_else(|| error(at, format!("the operand {text}")))
    }

    fn instruction(&mut self, at: usize) -> Result<Instruction, ParseError> {
        let mut text = self.lines[at].trim_end_matches(';').trim();
        let mut guard = None;
        if let Some(rest) = text.strip_prefix('@') {
            let (name, rest) = rest
                .split_once(char::is_whitespace)
                .ok_or_else(|| error(at, "a guard"))?;
            let negated = name.starts_with('!');
            guard = Some((self.register(name.trim_start_matches('!')), !negated));
            text = rest.trim();
        }
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let parts: Vec<&str> = name.split('.').collect();
        // A float taken for an integer would be worse than a refusal.
        if parts
            .iter()
            .any(|part| matches!(*part, "f16" | "f32" | "f64"))
        {
            return Err(error(
                at,
                format!("the operation {name}: there are no floats here"),
            ));
        }
        let mut types = parts[1..].iter().filter_map(|p| Type::parse(p));
        let ty = types.next().unwrap_or(Type::U32);
        let ty2 = types.next().unwrap_or(ty);
        let mut instruction = Instruction {
            guard,
            op: operation(&parts).ok_or_else(|| error(at, format!("the operation {name}")))?,
            ty,
            ty2,
            to: [NOWHERE; 4],
            width: 1,
            from: [Source::Immediate(0); 5],
            offset: 0,
            target: 0,
            line: at + 1,
        };
        self.operands(&mut instruction, rest, at)?;
        Ok(instruction)
    }

    fn operands(
        &mut self,
        instruction: &mut Instruction,
        text: &'a str,
        at: usize,
    ) -> Result<(), ParseError> {
        let lists = split(text);
        let mut next = 0;
        if instruction.op == Op::Branch {
            let target = self.labels.get(text.trim()).copied();
            instruction.target = target.ok_or_else(|| error(at, "a label"))?;
            return Ok(());
        }
        let writes = !matches!(
            instruction.op,
            Op::Store(..) | Op::Barrier | Op::WarpBarrier | Op::Return | Op::Nothing
        );
        for (i, list) in lists.iter().enumerate() {
            let address = list.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
            if let Some(address) = address {
                let (base, offset) = address.split_once('+').unwrap_or((address, "0"));
                let offset = offset.parse().map_err(|_| error(at, "an address"))?;
                instruction.offset = offset;
                instruction.from[next] = self.source(base.trim(), at)?;
                next += 1;
                continue;
            }
            let values: Vec<&str> = list
                .trim_matches(['{', '}'])
                .split([',', '|'])
                .map(str::trim)
                .collect();
            if i == 0 && writes {
                instruction.width = values.len() as u32;
                for (to, name) in instruction.to.iter_mut().zip(&values) {
                    *to = self.register(name);
                }
                if instruction.op == Op::Move && values.len() == 2 {
                    instruction.op = Op::Unpack;
                }
                continue;
            }
            if instruction.op == Op::Move && values.len() == 2 {
                instruction.op = Op::Pack;
            }
            if matches!(instruction.op, Op::Store(..)) {
                instruction.width = values.len() as u32;
            }
            for value in values {
                if next == instruction.from.len() {
                    return Err(error(at, "too many operands"));
                }
                instruction.from[next] = self.source(value, at)?;
                next += 1;
            }
        }
        Ok(())
    }
}

/// Operands between commas, those in braces and brackets kept together.
fn split(text: &str) -> Vec<&str> {
    let mut lists = vec![];
    let (mut depth, mut start) = (0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                lists.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    lists.push(text[start..].trim());
    lists.retain(|list| !list.is_empty());
    lists
}

fn operation(parts: &[&str]) -> Option<Op> {
    let has = |name| parts.contains(&name);
    let space = if has("param") {
        Space::Parameter
    } else if has("global") {
        Space::Global
    } else if has("shared") {
        Space::Shared
    } else {
        Space::Generic
    };
    Some(match parts[0] {
        "mov" => Op::Move,
        "cvt" => Op::Convert,
        "add" => Op::Add,
        "sub" => Op::Sub,
        "mul" if has("wide") => Op::MulWide,
        "mul" if has("hi") => Op::MulHigh,
        "mul" => Op::MulLow,
        "mad" if has("wide") => Op::MadWide,
        "mad" if has("lo") => Op::MadLow,
        "div" => Op::Div,
        "rem" => Op::Rem,
        "and" => Op::And,
        "or" => Op::Or,
        "xor" => Op::Xor,
        "not" => Op::Not,
        "neg" => Op::Neg,
        "abs" => Op::Abs,
        "min" => Op::Min,
        "max" => Op::Max,
        "shl" => Op::ShiftLeft,
        "shr" => Op::ShiftRight,
        "shf" => Op::Funnel(has("l"), has("wrap")),
        "setp" => Op::Set(match *parts.get(1)? {
            "eq" => Compare::Equal,
            "ne" => Compare::NotEqual,
            "lt" | "lo" => Compare::Less,
            "le" | "ls" => Compare::LessEqual,
            "gt" | "hi" => Compare::Greater,
            "ge" | "hs" => Compare::GreaterEqual,
            _ => return None,
        }),
        "selp" => Op::Select,
        "clz" => Op::LeadingZeros,
        "bfi" => Op::InsertBits,
        "bfe" => Op::ExtractBits,
        "prmt" => Op::Permute,
        "dp4a" => Op::Dot4,
        "ld" => Op::Load(space, has("volatile")),
        "st" => Op::Store(space, has("volatile")),
        "atom" | "red" => {
            let kinds = [
                ("add", Atomic::Add),
                ("exch", Atomic::Exchange),
                ("max", Atomic::Max),
                ("min", Atomic::Min),
                ("or", Atomic::Or),
            ];
            let kind = kinds.into_iter().find(|(name, _)| has(name))?;
            Op::Atomic(space, kind.1)
        }
        "cvta" if has("to") || has("global") => Op::Move,
        "cvta" if has("shared") => Op::ToGeneric,
        "bra" => Op::Branch,
        "bar" if has("warp") => Op::WarpBarrier,
        "bar" => Op::Barrier,
        "shfl" if has("bfly") => Op::Butterfly,
        "membar" | "fence" => Op::Nothing,
        "ret" => Op::Return,
        _ => return None,
    })
}
