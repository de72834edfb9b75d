//! Mutation test: every planted fault of a wide core and of the folded core
//! ([`annulus_hdl::faults`]) is caught by one of the trials below, and the core without
//! a fault passes all.
//!
//! A trial drives a core over its bus and holds it to the integer reference; what the
//! core lacks (it says so itself) the trial's model does without. One verilated core has
//! all faults of its kind in it. `docs/mutations.md` says what caught what;
//! with `UPDATE=1` in the environment the test writes it anew.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use annulus_contract::crc::Crc32;
use annulus_contract::error;
use annulus_contract::regs::{self, control, feature, region, status};
use annulus_contract::sample::{greedy, Key};
use annulus_contract::shape::{self, CoreShape};
use annulus_contract::step::{Kind, Step};
use annulus_hdl::faults;
use annulus_model::image::Image;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use annulus_model::sampler::Sampler;
use annulus_sim::core::{CoreDesign, SimCore};
use annulus_sim::verilated::Build;

/// Far more cycles than any token of these models takes on a wide core.
const TOKEN: u64 = 20_000;

/// More cycles than a wide core takes to fill the output queue, and to go on for a while.
const LONG: u64 = 40_000;

/// The preset of so many lanes with everything that is optional.
fn tested(lanes: u32) -> Option<CoreShape> {
    shape::with_lanes(lanes).map(CoreShape::with_nibbles)
}

/// What the core says of itself, if that is a preset: another can be given no model.
fn shape_of(core: &mut SimCore) -> Result<CoreShape, &'static str> {
    let said = CoreShape::read(|register| Ok::<_, Infallible>(core.read(register)));
    let said = said.expect("a core answers");
    let preset = tested(said.lanes());
    preset.filter(|preset| *preset == said).ok_or("shape")
}

/// How much longer than a wide core this one may take.
fn slowness(shape: &CoreShape) -> u64 {
    if shape.rows == 1 {
        20
    } else {
        1
    }
}

/// This shape as the core can run it.
fn runnable(shape: &Shape, core: &CoreShape) -> Shape {
    Shape {
        hadamard: shape.hadamard && core.has(feature::HADAMARD),
        head_size: shape.head_size.min(core.max_head as usize),
        nibbles: shape.nibbles && core.has(feature::NIBBLES),
        narrow: shape.narrow && core.has(feature::NARROW_VALUES),
        ..*shape
    }
}

/// Tokens that fit the output queue.
const QUEUE: usize = 16;

/// Passed, or the check that did not.
type Verdict = Result<(), &'static str>;

fn expect(check: &'static str, holds: bool) -> Verdict {
    holds.then_some(()).ok_or(check)
}

/// A model on a core, with the reference beside it.
struct Stream {
    slowness: u64,
    image: Image,
    reference: Reference,
    /// Of all logits so far.
    crc: Crc32,
    /// The last, as the link reads them.
    logits: Vec<u32>,
}

impl Stream {
    fn new(
        core: &mut SimCore,
        shape: &Shape,
        window: usize,
        sinks: usize,
    ) -> Result<Self, &'static str> {
        let preset = shape_of(core)?;
        let model = runnable(shape, &preset).model(1);
        let sinks = if preset.has(feature::SINKS) { sinks } else { 0 };
        let image = Image::compile(&model, &preset, window, sinks).expect("the model fits");
        let reference = Reference::new(&model, window, sinks).expect("a legal ring");
        let mut stream = Stream {
            slowness: slowness(&preset),
            image,
            reference,
            crc: Crc32::new(),
            logits: vec![],
        };
        stream.reset(core);
        for (region, words) in stream.image.loads() {
            fill(core, region, 0, &words);
        }
        for (register, value) in stream.image.registers() {
            core.write(register, value);
        }
        for register in [regs::TEMPERATURE, regs::STOP, regs::RESTART] {
            core.write(register, 0);
        }
        Ok(stream)
    }

    /// Empties the stream on both sides.
    fn reset(&mut self, core: &mut SimCore) {
        core.write(
            regs::CONTROL,
            control::RESET | control::CLEAR_COUNTERS | control::CLEAR_CRC,
        );
        self.reference.reset();
        self.crc = Crc32::new();
    }

    /// One token whose logits are wanted: they and the greedy choice are right.
    fn step(&mut self, core: &mut SimCore, token: u32) -> Verdict {
        core.write(regs::TOKEN_IN, token);
        expect("hang", core.run_until_idle(self.slowness * TOKEN))?;
        let logits = self.reference.step(token).expect("legal shifts");
        self.crc.update_logits(logits);
        self.logits = logits.iter().map(|&logit| logit as u32).collect();
        let choice = greedy(logits);
        expect("errors", core.read(regs::ERROR) == 0)?;
        expect("logits", core.read(regs::LOGITS_CRC) == self.crc.value())?;
        expect("choice", core.read(regs::TOKEN_OUT) == 1 << 31 | choice)
    }

    /// One token of a prompt: nothing is chosen, no logits are made.
    fn step_silent(&mut self, core: &mut SimCore, token: u32) -> Verdict {
        core.write(regs::TOKEN_IN, token | 1 << 31);
        expect("hang", core.run_until_idle(self.slowness * TOKEN))?;
        self.reference.step_silent(token).expect("legal shifts");
        expect("status", core.read(regs::STATUS) == 0)?;
        expect(
            "logits of a prompt",
            core.read(regs::LOGITS_CRC) == self.crc.value(),
        )
    }

    /// Random tokens, one in five of them a prompt's.
    fn steps(&mut self, core: &mut SimCore, count: usize, rng: &mut Rng) -> Verdict {
        for _ in 0..count {
            let token = rng.within(0, self.image.config.vocab as i32 - 1) as u32;
            if rng.one_in(5) {
                self.step_silent(core, token)?;
            } else {
                self.step(core, token)?;
            }
        }
        Ok(())
    }

    /// The core feeds itself: `count` choices after `first`, each of them read at once.
    fn generate(
        &mut self,
        core: &mut SimCore,
        sampler: &mut Sampler,
        first: u32,
        count: usize,
    ) -> Result<Vec<u32>, &'static str> {
        core.write(regs::BUDGET, count as u32 - 1);
        core.write(regs::TOKEN_IN, first);
        self.choices(core, sampler, first, count)
    }

    /// The next `count` choices of a core that runs by itself and was fed `token` last.
    fn choices(
        &mut self,
        core: &mut SimCore,
        sampler: &mut Sampler,
        mut token: u32,
        count: usize,
    ) -> Result<Vec<u32>, &'static str> {
        let restart = core.read(regs::RESTART);
        let mut chosen = vec![];
        for _ in 0..count {
            let logits = self.reference.step(token).expect("legal shifts");
            self.crc.update_logits(logits);
            token = sampler.choose(logits);
            chosen.push(token);
            expect("hang", core.run_until_chosen(self.slowness * TOKEN))?;
            expect("choice", core.read(regs::TOKEN_OUT) == 1 << 31 | token)?;
            if restart == 1 << 31 | token {
                self.reference.reset();
            }
        }
        Ok(chosen)
    }

    /// The core comes to rest with so many tokens chosen and so much of its budget left.
    fn rest(&self, core: &mut SimCore, chosen: usize, left: u32, status: u32) -> Verdict {
        core.model().run(self.slowness * TOKEN);
        expect("status", core.read(regs::STATUS) == status)?;
        expect("samples", core.read(regs::SAMPLES) == chosen as u32)?;
        expect("budget", core.read(regs::BUDGET) == left)?;
        expect("logits", core.read(regs::LOGITS_CRC) == self.crc.value())
    }

    /// Position, ring and counters are where so many tokens of a stream leave them.
    fn place(&self, core: &mut SimCore) -> Verdict {
        let (ring, taken) = (self.image.ring, self.reference.taken());
        let (key, value) = (
            ring.key_at(ring.slot(taken)),
            ring.value_at(ring.slot(taken)),
        );
        let full = taken >= u64::from(ring.window);
        expect("position", u64::from(core.read(regs::POSITION)) == taken)?;
        expect("ring state", core.read(regs::RING_STATE) == u32::from(full))?;
        expect(
            "key's place",
            core.read(regs::KEY_AT) == key.0 | key.1 << 16,
        )?;
        expect(
            "value's place",
            core.read(regs::VALUE_AT) == value.0 | value.1 << 16,
        )
    }

    /// What the link reads of a stream and writes back: registers, phases, rings.
    fn save(&self, core: &mut SimCore) -> Saved {
        let layout = self.image.layout();
        let (rings, values) = (layout.weight_words as u32, layout.value_start() as u32);
        let words = (layout.key_words + layout.value_words) * 2 * layout.ring.rows as usize;
        let key_scales = layout.key_scales * layout.ring.rows as usize;
        let registers = [
            regs::SAMPLES,
            regs::POSITION,
            regs::POSITION_HIGH,
            regs::RING_STATE,
            regs::KEY_AT,
            regs::VALUE_AT,
        ];
        let memories = [
            (region::PHASE, 0, self.image.increments.len()),
            (region::KEY_SCALES, 0, key_scales),
            (region::WIDE, rings, words),
            (region::EXPONENTS, values, layout.exponent_bytes() / 4),
        ];
        Saved {
            registers: registers
                .map(|register| (register, core.read(register)))
                .to_vec(),
            memories: memories
                .map(|(region, at, count)| (region, at, memory(core, region, at, count)))
                .to_vec(),
        }
    }
}

struct Saved {
    registers: Vec<(u8, u32)>,
    memories: Vec<(u32, u32, Vec<u32>)>,
}

impl Saved {
    fn restore(&self, core: &mut SimCore) {
        for (region, at, words) in &self.memories {
            fill(core, *region, *at, words);
        }
        for &(register, value) in &self.registers {
            core.write(register, value);
        }
    }
}

fn fill(core: &mut SimCore, region: u32, at: u32, words: &[u32]) {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, at, 0));
    words
        .iter()
        .for_each(|&word| core.write(regs::MEM_DATA, word));
}

fn memory(core: &mut SimCore, region: u32, at: u32, count: usize) -> Vec<u32> {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, at, 0));
    (0..count).map(|_| core.read(regs::MEM_DATA)).collect()
}

/// Grouped heads of two words, Hadamard, odd sizes everywhere, a tied embedding.
const GROUPED: Shape = Shape {
    layers: 2,
    hidden: 45,
    heads: 4,
    kv_heads: 2,
    head_size: 16,
    vocab: 61,
    ..Shape::LLAMA
};

/// As microGPT: learned positions, a norm behind the embedding, ReLU, no final norm.
const LEARNED: Shape = Shape {
    heads: 3,
    kv_heads: 3,
    head_size: 6,
    hidden: 29,
    vocab: 33,
    rope: false,
    hadamard: false,
    relu: true,
    final_norm: false,
    tied: false,
    positions: Some(8),
    embedding_norm: true,
    ..GROUPED
};

/// Vectors, scores and logits that saturate, so that many logits are equal.
const SATURATING: Shape = Shape {
    heads: 2,
    kv_heads: 1,
    head_size: 24,
    hadamard: false,
    saturating: true,
    ..GROUPED
};

/// Eight heads of two elements.
const SMALL_HEADS: Shape = Shape {
    heads: 8,
    kv_heads: 4,
    head_size: 2,
    hidden: 7,
    vocab: 16,
    ..GROUPED
};

/// One head of 64 elements.
const LARGE_HEAD: Shape = Shape {
    heads: 1,
    kv_heads: 1,
    head_size: 64,
    hidden: 96,
    vocab: 80,
    ..GROUPED
};

/// 4-bit weights, and rows of more than one word of group scales, that end with half a word.
const NIBBLES: Shape = Shape {
    layers: 1,
    hidden: 290,
    nibbles: true,
    ..GROUPED
};

/// 4-bit values: heads of three row groups, so that a word's nibbles are of one head or of two,
/// and the last row group has none above it.
const NARROW: Shape = Shape {
    layers: 2,
    heads: 3,
    kv_heads: 3,
    head_size: 24,
    hidden: 20,
    hadamard: false,
    narrow: true,
    ..GROUPED
};

/// 4-bit values that reach their largest and smallest, in heads of several words.
const NARROW_SATURATING: Shape = Shape {
    narrow: true,
    ..SATURATING
};

/// Quick, for runs of many tokens.
const QUICK: Shape = Shape {
    layers: 1,
    heads: 2,
    kv_heads: 1,
    head_size: 8,
    hidden: 16,
    vocab: 24,
    ..GROUPED
};

/// Logits of every token, for three turns of the ring and more.
fn logits(core: &mut SimCore, shape: &Shape, window: usize, sinks: usize) -> Verdict {
    let mut stream = Stream::new(core, shape, window, sinks)?;
    stream.steps(core, 3 * window + 5, &mut Rng::new(7))?;
    stream.step(core, 0)?;
    expect(
        "logits over the link",
        memory(core, region::LOGITS, 0, shape.vocab) == stream.logits,
    )?;
    expect(
        "tokens",
        core.read(regs::TOKENS) == stream.reference.taken() as u32,
    )?;
    stream.place(core)
}

/// A temperature of 10, where every symbol is chosen now and then.
fn sampler(core: &mut SimCore) -> Sampler {
    let (it, key) = (148, Key { k0: 12, k1: 34 });
    core.write(regs::TEMPERATURE, it.into());
    core.write(regs::KEY0, key.k0);
    core.write(regs::KEY1, key.k1);
    Sampler::gumbel(it, key, 12)
}

/// The core feeds itself, greedy and sampling, and ends with its budget. Stop and
/// restart tokens that are switched off are tokens as any other.
fn generation(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &QUICK, 13, 0)?;
    stream.generate(core, &mut Sampler::greedy(), 3, 10)?;
    stream.rest(core, 10, 0, 0)?;
    stream.reset(core);
    let mut sampler = sampler(core);
    let chosen = stream.generate(core, &mut sampler, 3, 40)?;
    stream.rest(core, 40, 0, 0)?;
    stream.place(core)?;

    stream.reset(core);
    sampler.restart();
    core.write(regs::STOP, chosen[5]);
    core.write(regs::RESTART, chosen[5]);
    stream.generate(core, &mut sampler, 3, 40)?;
    stream.rest(core, 40, 0, 0)?;
    stream.place(core)
}

/// The first index from `from` on of a token that was not chosen before.
fn first_seen(chosen: &[u32], from: usize) -> usize {
    let fresh = |&i: &usize| !chosen[..i].contains(&chosen[i]);
    (from..chosen.len())
        .find(fresh)
        .expect("a token that comes late")
}

/// The choices of a stream that neither stops nor restarts.
fn unbroken(stream: &mut Stream, sampler: &Sampler, count: usize) -> Vec<u32> {
    let mut sampler = sampler.clone();
    let mut token = 3;
    let mut choose = || {
        token = sampler.choose(stream.reference.step(token).expect("legal shifts"));
        token
    };
    let chosen = (0..count).map(|_| choose()).collect();
    stream.reference.reset();
    chosen
}

/// The stop token ends a run with its budget unspent; a token from outside goes on.
fn stop(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &QUICK, 13, 0)?;
    let mut sampler = sampler(core);
    let chosen = unbroken(&mut stream, &sampler, 40);
    let last = first_seen(&chosen, 8);
    core.write(regs::STOP, 1 << 31 | chosen[last]);
    core.write(regs::BUDGET, 60);
    core.write(regs::TOKEN_IN, 3);
    stream.choices(core, &mut sampler, 3, last + 1)?;
    stream.rest(core, last + 1, 60 - last as u32, status::STOPPED)?;
    core.write(regs::TOKEN_IN, 1);
    stream.choices(core, &mut sampler, 1, 1)?;
    Ok(())
}

/// The restart token begins again at position 0 of an empty ring, sinks or not.
fn restart(core: &mut SimCore, shape: &Shape, window: usize, sinks: usize) -> Verdict {
    let mut stream = Stream::new(core, shape, window, sinks)?;
    let mut sampler = sampler(core);
    let chosen = unbroken(&mut stream, &sampler, 60);
    let last = first_seen(&chosen, window + 1);
    core.write(regs::RESTART, 1 << 31 | chosen[last]);
    let count = last + 2 * window;
    stream.generate(core, &mut sampler, 3, count)?;
    stream.rest(core, count, 0, 0)?;
    stream.place(core)
}

/// A reader that sleeps stalls the core and loses nothing.
fn slow_reader(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &QUICK, 7, 2)?;
    let mut sampler = sampler(core);
    core.write(regs::BUDGET, 49);
    core.write(regs::TOKEN_IN, 3);
    core.model().run(stream.slowness * LONG);
    expect("samples", core.read(regs::SAMPLES) as usize == QUEUE)?;
    expect("status", core.read(regs::STATUS) == status::OUTPUT)?;
    stream.choices(core, &mut sampler, 3, 50)?;
    stream.rest(core, 50, 0, 0)
}

/// A prompt goes in at once, and the core goes on from its last token.
fn prompt(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &QUICK, 10, 1)?;
    let mut sampler = sampler(core);
    core.write(regs::BUDGET, 5);
    for token in 1..12 {
        core.write(regs::TOKEN_IN, token | 1 << 31);
        stream.reference.step_silent(token).expect("legal shifts");
    }
    core.write(regs::TOKEN_IN, 12);
    expect("hang", core.run_until_chosen(12 * stream.slowness * TOKEN))?;
    stream.choices(core, &mut sampler, 12, 6)?;
    stream.rest(core, 6, 0, 0)?;
    stream.place(core)
}

/// A stream that is saved goes on, after another and a reset, as if it had never paused.
fn save_and_restore(core: &mut SimCore, shape: &Shape) -> Verdict {
    let mut stream = Stream::new(core, shape, 11, 3)?;
    let mut rng = Rng::new(5);
    stream.steps(core, 17, &mut rng)?;
    let (saved, reference) = (stream.save(core), stream.reference.clone());
    stream.reset(core);
    stream.steps(core, 5, &mut rng)?;
    stream.reset(core);
    saved.restore(core);
    stream.reference = reference;
    stream.steps(core, 12, &mut rng)
}

/// A reset in the middle of a token leaves nothing of it.
fn reset(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &GROUPED, 9, 0)?;
    for cycles in (0..600).step_by(7) {
        core.write(regs::TOKEN_IN, 2);
        core.model().run(stream.slowness * cycles);
        stream.reset(core);
        stream.step(core, 3)?;
        stream.reset(core);
    }
    Ok(())
}

/// Misuse and broken images are reported, and a reset makes up for them.
fn errors(core: &mut SimCore) -> Verdict {
    let mut stream = Stream::new(core, &QUICK, 5, 0)?;
    let slowness = stream.slowness;
    let reported = |core: &mut SimCore, error| {
        core.model().run(slowness * LONG);
        expect("errors", core.read(regs::ERROR) == error)?;
        expect("status", core.read(regs::STATUS) & status::BUSY == 0)
    };

    for _ in 0..QUEUE + 4 {
        core.write(regs::TOKEN_IN, 1 << 31);
    }
    reported(core, error::INPUT_OVERFLOW)?;

    stream.reset(core);
    core.write(regs::TOKEN_IN, 2);
    core.model().run(20);
    for memory in [region::WIDE, region::SCALES, region::STEPS] {
        fill(core, memory, 0, &[!0; 16]);
    }
    reported(core, error::BUSY_ACCESS)?;
    stream.reset(core);
    stream.step(core, 2)?;

    stream.reset(core);
    let steps = stream.image.steps.clone();
    let out = steps
        .iter()
        .position(|step| step.kind == Kind::Out)
        .expect("every program has one");
    let mut broken = steps[out];
    broken.shift = 100;
    fill(core, region::STEPS, out as u32, &broken.encode());
    core.write(regs::TOKEN_IN, 2);
    reported(core, error::ILLEGAL_SHIFT)?;

    stream.reset(core);
    let mut unknown = Step::new(Kind::End).encode();
    unknown[0] |= 15; // the field of the kind
    fill(core, region::STEPS, out as u32, &unknown);
    core.write(regs::TOKEN_IN, 2);
    reported(core, error::BAD_STEP)
}

type Trial = (&'static str, fn(&mut SimCore) -> Verdict);

/// The trials, the cheapest first.
const TRIALS: &[Trial] = &[
    ("head sizes of 2", |core| logits(core, &SMALL_HEADS, 1, 0)),
    ("grouped heads, sinks", |core| logits(core, &GROUPED, 21, 5)),
    ("learned positions", |core| logits(core, &LEARNED, 11, 0)),
    ("head size of 24, saturating", |core| {
        logits(core, &SATURATING, 10, 2)
    }),
    ("head size of 64", |core| logits(core, &LARGE_HEAD, 19, 0)),
    ("4-bit weights", |core| logits(core, &NIBBLES, 5, 0)),
    ("4-bit values", |core| logits(core, &NARROW, 13, 3)),
    ("4-bit values, saturating", |core| {
        logits(core, &NARROW_SATURATING, 10, 2)
    }),
    ("head sizes of 2, sinks", |core| {
        logits(core, &SMALL_HEADS, 12, 11)
    }),
    ("generation", generation),
    ("stop token", stop),
    ("restart token", |core| restart(core, &QUICK, 6, 0)),
    ("restart token, learned positions", |core| {
        restart(core, &LEARNED, 6, 2)
    }),
    ("slow reader", slow_reader),
    ("prompt", prompt),
    ("save and restore", |core| save_and_restore(core, &GROUPED)),
    ("save and restore, 4-bit values", |core| {
        save_and_restore(core, &NARROW)
    }),
    ("errors", errors),
    ("reset", reset),
];

/// The same for a core without sinks and without heads of more than 16.
const FOLDED_TRIALS: &[Trial] = &[
    ("head sizes of 2", |core| logits(core, &SMALL_HEADS, 1, 0)),
    ("grouped heads", |core| logits(core, &GROUPED, 21, 0)),
    ("learned positions", |core| logits(core, &LEARNED, 11, 0)),
    ("saturating", |core| logits(core, &SATURATING, 10, 0)),
    ("4-bit weights", |core| logits(core, &NIBBLES, 5, 0)),
    ("generation", generation),
    ("stop token", stop),
    ("restart token", |core| restart(core, &QUICK, 6, 0)),
    ("restart token, learned positions", |core| {
        restart(core, &LEARNED, 6, 0)
    }),
    ("slow reader", slow_reader),
    ("prompt", prompt),
    ("save and restore", |core| save_and_restore(core, &GROUPED)),
    ("errors", errors),
    ("reset", reset),
];

/// The first trial that fails, and its check.
fn caught(core: &mut SimCore, trials: &[Trial]) -> Option<(&'static str, &'static str)> {
    trials
        .iter()
        .find_map(|(name, trial)| Some((*name, trial(core).err()?)))
}

#[test]
fn every_planted_fault_is_caught() {
    all_are_caught(64, TRIALS, 30);
}

#[test]
fn every_planted_fault_of_the_folded_core_is_caught() {
    all_are_caught(8, FOLDED_TRIALS, 15);
}

/// Holds the core of so many lanes with each of its faults, `least` or more, to the trials, and
/// the page to what they found.
fn all_are_caught(lanes: u32, trials: &[Trial], least: usize) {
    let shape = tested(lanes).expect("a preset");
    let (verilog, faults) = annulus_hdl::faulty_core_verilog(&shape).expect("a core");
    let build = Build::new(&format!("mutants{lanes}"), &verilog);
    let design = CoreDesign::of_build(&build, &mut |_| ()).expect("the core builds");
    let mutant = |number: usize| {
        let mut core = design.instance();
        let port = core
            .model()
            .port(faults::INPUT)
            .expect("the input that chooses a fault");
        core.model().poke(port, number as u64);
        caught(&mut core, trials)
    };
    assert_eq!(mutant(0), None, "the core without a fault");

    let results = Mutex::new(vec![None; faults.len()]);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= faults.len() {
                    break;
                }
                let result = mutant(at + 1);
                results.lock().expect("no thread panics")[at] = result;
            });
        }
    });

    let mut table = COLUMNS.to_owned();
    let mut survivors = vec![];
    for (at, (fault, result)) in faults
        .iter()
        .zip(results.into_inner().expect("no thread panics"))
        .enumerate()
    {
        let (trial, check) = result.unwrap_or(("NOTHING", "-"));
        if result.is_none() {
            survivors.push(format!("{}: {}", fault.unit, fault.what));
        }
        writeln!(
            table,
            "| {} | {} | {} | {trial}: {check} |",
            at + 1,
            fault.unit,
            fault.what
        )
        .expect("a string grows");
    }
    println!("{table}");
    assert!(
        survivors.is_empty(),
        "{} faults survive:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
    assert!(faults.len() >= least, "only {} faults", faults.len());

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mutations.md");
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    let sections: Vec<_> = written.split("\n## ").skip(1).collect();
    let section = |of: u32| {
        let title = format!("{of} lanes\n\n");
        let found = sections.iter().find_map(|s| s.strip_prefix(title.as_str()));
        found.unwrap_or_default().trim_end().to_owned()
    };
    if std::env::var_os("UPDATE").is_some() {
        let mut text = HEAD.to_owned();
        for of in [64, 8] {
            let body = if of == lanes {
                table.clone()
            } else {
                section(of)
            };
            write!(text, "\n## {of} lanes\n\n{}\n", body.trim_end()).expect("a string grows");
        }
        std::fs::write(&page, text).expect("the page can be written");
    } else {
        assert!(
            section(lanes) == table.trim_end(),
            "docs/mutations.md is not current: UPDATE=1 writes it"
        );
    }
}

const HEAD: &str = "# Mutations

Faults planted in two cores, and the check that catches each. The lists are made from the Verilog's
own text (`hdl/src/faults.rs` says how a fault is written), the tables by `sim/tests/mutants.rs`,
which fails if a fault survives. All faults of a core are in one simulated core; an input of it
chooses one. The check that is named is the first to fail; most faults fail many.
";

const COLUMNS: &str = "\
| | unit | fault | caught by |
| --- | --- | --- | --- |
";
