//! The links in front of a verilated core: accesses, timing, and what a bad line
//! cannot do. What holds for all of them stands here.

mod spi;
mod uart;

use annulus_contract::link::{self, Master, Wire};
use annulus_contract::regs::{self, control, mem_address, region, status};
use annulus_contract::sample::greedy;
use annulus_contract::shape::{self, CoreShape};
use annulus_model::image::Image;
use annulus_model::quant::QuantModel;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use std::collections::BTreeMap;
use std::convert::Infallible;

fn core_shape() -> CoreShape {
    shape::with_lanes(16).expect("a preset")
}

/// Reads what cannot be written, and writes and reads what can.
fn registers_are_read_and_written<W: Wire<Error = Infallible>>(core: &mut Master<W>) {
    assert_eq!(core.read(regs::ID), Ok(regs::ID_VALUE));
    assert_eq!(
        CoreShape::read(|register| core.read(register)),
        Ok(core_shape())
    );
    let writable = [
        regs::BUDGET,
        regs::STOP,
        regs::RESTART,
        regs::KEY0,
        regs::KEY1,
        regs::SAMPLES,
        regs::EPS,
    ];
    let value = |register: u8| 0x9e37_79b9u32.wrapping_mul(register.into());
    for register in writable {
        core.write(register, value(register)).unwrap();
    }
    for register in writable {
        assert_eq!(
            core.read(register),
            Ok(value(register)),
            "register {register:#x}"
        );
    }
}

/// Every writable region, and how many words it has here.
fn regions(shape: &CoreShape) -> [(u32, u32); 8] {
    let pairs = shape.max_head / 2;
    [
        (
            region::WIDE,
            shape.memory * region::lanes(region::WIDE, shape.rows),
        ),
        (region::SCALES, shape.scales),
        (region::STEPS, shape.steps * 8),
        (region::GAINS, shape.residual / 2),
        (region::INCREMENT, pairs),
        (region::PHASE, pairs),
        (region::FAR, pairs),
        (region::KEY_SCALES, shape.key_scales * shape.rows),
    ]
}

fn place(region: u32, word: u32) -> u32 {
    link::advance(mem_address(region, 0, 0), word, core_shape().rows)
}

/// Writes bursts at the ends and in the midst of every region, of lengths that begin and
/// end within an index and take several frames, and then reads all of them back.
fn memories_hold_what_is_written<W: Wire<Error = Infallible>>(
    core: &mut Master<W>,
    bursts: usize,
    seed: u64,
) {
    let mut rng = Rng::new(seed);
    let mut mirror = BTreeMap::new();
    for (region, size) in regions(&core_shape()) {
        for burst in 0..bursts {
            let length = rng.within(1, 150).min(size as i32) as u32;
            let first = match burst {
                0 => 0,
                1 => size - length,
                _ => rng.within(0, (size - length) as i32) as u32,
            };
            let words: Vec<u32> = (0..length).map(|_| rng.bits()).collect();
            core.write(regs::MEM_ADDRESS, place(region, first)).unwrap();
            core.write_block(regs::MEM_DATA, &words).unwrap();
            if first + length < size {
                let next = core.read(regs::MEM_ADDRESS).unwrap();
                assert_eq!(
                    next,
                    place(region, first + length),
                    "region {region}: the core's address"
                );
            }
            mirror.extend(
                (first..)
                    .zip(words)
                    .map(|(at, word)| ((region, at), word & region::kept(region))),
            );
        }
    }
    // Runs of consecutive words, in one block each.
    let mut written = mirror.into_iter().peekable();
    while let Some(((region, first), word)) = written.next() {
        let mut words = vec![word];
        while let Some((_, word)) =
            written.next_if(|((r, at), _)| (*r, *at) == (region, first + words.len() as u32))
        {
            words.push(word);
        }
        let mut found = vec![0; words.len()];
        core.write(regs::MEM_ADDRESS, place(region, first)).unwrap();
        core.read_block(regs::MEM_DATA, &mut found).unwrap();
        assert!(
            found == words,
            "region {region}, {} words from {first}",
            words.len()
        );
    }
    assert_eq!(core.read(regs::ERROR), Ok(0));
}

/// A model of a few thousand words.
fn small_model(seed: u64) -> QuantModel {
    let shape = Shape {
        hidden: 21,
        ..Shape::LLAMA
    };
    shape.model(seed)
}

fn load<W: Wire<Error = Infallible>>(core: &mut Master<W>, image: &Image) {
    core.write(regs::CONTROL, control::RESET | control::CLEAR_COUNTERS)
        .unwrap();
    for (region, words) in image.loads() {
        core.write(regs::MEM_ADDRESS, mem_address(region, 0, 0))
            .unwrap();
        core.write_block(regs::MEM_DATA, &words).unwrap();
    }
    for (register, value) in image.registers() {
        core.write(register, value).unwrap();
    }
}

fn read_memory<W: Wire<Error = Infallible>>(
    core: &mut Master<W>,
    region: u32,
    count: usize,
) -> Vec<u32> {
    let mut words = vec![0; count];
    core.write(regs::MEM_ADDRESS, mem_address(region, 0, 0))
        .unwrap();
    core.read_block(regs::MEM_DATA, &mut words).unwrap();
    words
}

/// Polls until the status has (or has no longer) one of the bits.
fn wait<W: Wire<Error = Infallible>>(core: &mut Master<W>, bit: u32, set: bool) {
    let reached = |_: &u32| (core.read(regs::STATUS).unwrap() & bit != 0) == set;
    assert!((0..10_000).find(reached).is_some(), "the core hangs");
}

/// Loads a model, reads back what was loaded, and compares the logits of single tokens and
/// the tokens of free runs with the reference's.
fn runs_as_the_reference<W: Wire<Error = Infallible>>(
    core: &mut Master<W>,
    model: &QuantModel,
    seed: u64,
) {
    runs_as_the_reference_on(core, &core_shape(), model, seed);
}

/// The same on a core of another shape.
fn runs_as_the_reference_on<W: Wire<Error = Infallible>>(
    core: &mut Master<W>,
    shape: &CoreShape,
    model: &QuantModel,
    seed: u64,
) {
    let (window, sinks) = (9, 2);
    let image = Image::compile(model, shape, window, sinks).expect("the model fits");
    load(core, &image);
    for (region, words) in image.loads() {
        assert!(
            read_memory(core, region, words.len()) == words,
            "region {region}"
        );
    }
    let mut reference = Reference::new(model, window, sinks).expect("a legal ring");
    let mut rng = Rng::new(seed);
    let mut done = 0;
    for position in 0..12 {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        core.write(regs::TOKEN_IN, token).unwrap();
        wait(core, status::OUTPUT, true);
        wait(core, status::BUSY, false);
        let expected = reference.step(token).expect("legal shifts");
        let logits: Vec<i32> = read_memory(core, region::LOGITS, model.vocab)
            .into_iter()
            .map(|l| l as i32)
            .collect();
        assert_eq!(logits, expected, "position {position}");
        assert_eq!(
            core.read(regs::TOKEN_OUT),
            Ok(greedy(expected) | 1 << 31),
            "position {position}"
        );
        done += 1;
    }
    // A prompt as fast as it can be queued, and what the core makes of it by itself.
    for run in 0..3 {
        let prompt: Vec<u32> = (0..10)
            .map(|_| rng.within(0, model.vocab as i32 - 1) as u32)
            .collect();
        let (&last, silent) = prompt.split_last().expect("a prompt");
        for &token in silent {
            wait(core, status::INPUT_FULL, false);
            core.write(regs::TOKEN_IN, token | 1 << 31).unwrap();
            reference.step_silent(token).expect("legal shifts");
        }
        core.write(regs::TOKEN_IN, last).unwrap();
        core.write(regs::BUDGET, 19).unwrap();
        let mut token = last;
        for n in 0..20 {
            token = greedy(reference.step(token).expect("legal shifts"));
            wait(core, status::OUTPUT, true);
            assert_eq!(
                core.read(regs::TOKEN_OUT),
                Ok(token | 1 << 31),
                "run {run}, token {n}"
            );
        }
        done += 29;
        wait(core, status::BUSY, false);
        assert_eq!(core.read(regs::TOKENS), Ok(done), "tokens in the core");
        assert_eq!(core.read(regs::TOKEN_OUT), Ok(0));
    }
    assert_eq!(core.read(regs::ERROR), Ok(0));
}
