//! What lies where in the folded core's memories, for a core of a given shape.

use super::assembler::{assemble, Program};
use super::mode;
use annulus_contract::regs;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::COLUMNS;
use annulus_contract::tables;
use std::collections::HashMap;

/// Tokens that can wait on either side.
const QUEUE: u32 = 16;

/// Addresses and sizes of the memories.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Words of the register memory. The first are the bus' registers.
    pub registers: u32,
    /// Register memory: queued input tokens.
    pub inputs: u32,
    /// Register memory: chosen tokens.
    pub outputs: u32,
    /// Register memory: phases of the pairs, at a multiple of their number.
    pub phase: u32,
    /// Register memory: increments of the phases.
    pub increment: u32,
    /// Pairs of the largest head.
    pub pairs: u32,
    /// Elements of the vector memory: gains, residual, hidden, scores.
    pub vectors: u32,
    /// Vector memory: the residual. (The gains lie at 0.)
    pub residual: u32,
    /// Words of eight mantissas.
    pub mantissas: u32,
    /// Mantissas: the first of four times eight words, each with one multiplier in one place.
    pub ones: u32,
    /// The microprogram.
    pub program: Vec<u16>,
    /// What the register memory holds at first, by address.
    pub initial: Vec<(u32, u32)>,
    /// The table memory.
    pub tables: Vec<u16>,
}

impl Layout {
    /// The layout for a core of this shape.
    pub fn new(shape: &CoreShape) -> Self {
        let columns = COLUMNS as u32;
        let pairs = (shape.max_head / 2).next_power_of_two();
        // The register memory: the bus' registers, queues, rotations, then what the
        // microprogram declares, then the scales of the query heads.
        let inputs = u32::from(regs::KIND_CYCLES);
        let outputs = inputs + QUEUE;
        let phase = outputs + QUEUE;
        let increment = phase + pairs;
        let angle = increment + pairs;
        let free = angle + 2 * pairs;
        let heads = shape.residual / columns;
        let query_scales = if heads <= 32 { 256 - heads } else { 256 };
        let registers = (query_scales + heads).next_power_of_two().max(256);

        let residual = shape.residual;
        let hidden = 2 * shape.residual;
        let scores = hidden + shape.hidden;
        let vectors = (scores + shape.score_words * columns).next_power_of_two();
        // The mantissas, in words.
        let x_hidden = shape.residual / columns;
        let x_query = x_hidden + shape.hidden / columns;
        let x_weights = x_query + shape.residual / columns;
        let ones = x_weights + shape.score_words;
        let mantissas = (ones + 4 * columns).next_power_of_two();

        let (tables, places) = tables();
        let mut symbols: HashMap<String, u32> = HashMap::from([
            ("GAINS".into(), 0),
            ("RESIDUAL".into(), residual),
            ("HIDDEN".into(), hidden),
            ("SCORES".into(), scores),
            ("ONES".into(), ones),
            ("QUERY_SCALES".into(), query_scales),
            ("OFF".into(), mode::OFF),
            ("ROWS".into(), mode::ROWS),
            ("KEYS".into(), mode::KEYS),
            ("SUMS".into(), mode::SUMS),
            ("VECTOR".into(), mode::VECTOR),
            ("SHORT".into(), mode::SHORT),
        ]);
        for (name, word) in [
            ("RESIDUAL", 0),
            ("HIDDEN", x_hidden),
            ("QUERY", x_query),
            ("WEIGHTS", x_weights),
        ] {
            symbols.insert(format!("X_{name}"), word);
            symbols.insert(format!("X_{name}_BYTES"), word * columns);
        }
        symbols.extend(
            places
                .into_iter()
                .map(|(name, place)| (name.to_string(), place)),
        );
        let mut names: HashMap<String, u32> = regs::ALL
            .iter()
            .map(|&(name, address)| (name.to_string(), address.into()))
            .collect();
        names.extend([
            ("phase".into(), phase),
            ("increment".into(), increment),
            ("angle".into(), angle),
        ]);
        let limit = query_scales.min(256);
        let Program {
            words,
            registers: constants,
            ..
        } = assemble(include_str!("microcode.s"), &symbols, &names, free, limit)
            .unwrap_or_else(|error| unreachable!("the microprogram: {error}"));
        let mut initial = vec![
            (regs::ID.into(), regs::ID_VALUE),
            (regs::SHAPE.into(), shape.shape_register()),
            (regs::CAP_MEMORY.into(), shape.memory),
            (regs::CAP_SCALES.into(), shape.scales),
            (regs::CAP_STEPS.into(), shape.steps),
            (regs::CAP_KEY_SCALES.into(), shape.key_scales),
            (regs::CAP_SCORES.into(), shape.score_words),
            (regs::CAP_VECTOR.into(), shape.vector_register()),
            (regs::CAP_VOCAB.into(), shape.vocab),
        ];
        initial.extend(constants);
        Layout {
            registers,
            inputs,
            outputs,
            phase,
            increment,
            pairs,
            vectors,
            residual,
            mantissas,
            ones,
            program: words,
            initial,
            tables,
        }
    }
}

/// The table memory and where each table starts. Two fall: they are stored as
/// their distance from 65,536, so that interpolation rounds as it should. The
/// noise is stored 8,192 higher, so that no entry is negative.
fn tables() -> (Vec<u16>, Vec<(&'static str, u32)>) {
    let parts: [(&str, Vec<u16>); 7] = [
        // At 0, because the microprogram takes its index from five bits.
        ("EXP2", tables::EXP2.to_vec()),
        ("POWERS", (0..16).map(|i| 1 << i).collect()),
        ("SIGMOID", tables::SIGMOID.to_vec()),
        ("SINE", tables::SIN.to_vec()),
        (
            "RSQRT",
            tables::RSQRT[16..]
                .iter()
                .map(|&r| r.wrapping_neg())
                .collect(),
        ),
        (
            "RECIP",
            tables::RECIP.iter().map(|&r| (65536 - r) as u16).collect(),
        ),
        (
            "GUMBEL",
            tables::GUMBEL
                .iter()
                .map(|&g| (i32::from(g) + 8192) as u16)
                .collect(),
        ),
    ];
    let mut all = vec![];
    let mut places = vec![];
    for (name, part) in parts {
        places.push((name, all.len() as u32));
        all.extend(part);
    }
    (all, places)
}
