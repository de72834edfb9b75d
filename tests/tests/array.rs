//! What open synthesis makes of the wide core's array: that its netlist still multiplies.

use annulus_contract::step::COLUMNS;
use annulus_hdl::cells::Dot8;
use annulus_hdl::units::array::DotArray;
use annulus_hdl::units::tag::{WORD_TAG, WORD_TAG_BITS};
use annulus_model::random::Rng;
use annulus_sim::verilated::Build;
use annulus_tests::{cells, synthesized, ECP5_CELLS, ECP5_LOGIC};

/// Where a field of the word tag lies.
fn tag_bit(name: &str) -> u32 {
    WORD_TAG
        .iter()
        .take_while(|field| field.0 != name)
        .map(|field| field.1 as u32)
        .sum()
}

/// Yosys has dropped multipliers of registered dot products without a word, so the netlist of
/// the whole array is run against the model: at random, and with each product alone.
#[test]
fn the_netlist_of_the_dot_array_keeps_every_product() {
    const ROWS: usize = 8;
    let verilog = annulus_hdl::verilog(DotArray::<{ 64 * ROWS }, { 32 * ROWS }>::new());
    let folder = synthesized(
        &verilog,
        "synth_ecp5 -top top; write_verilog -noattr netlist.v",
    );
    assert_eq!(cells(&folder).get("MULT18X18D"), Some(&(ROWS * COLUMNS)));

    let netlist = std::fs::read_to_string(folder.join("netlist.v")).expect("the netlist");
    let source = netlist + ECP5_LOGIC + ECP5_CELLS;
    let design = Build::new("dot_array_netlist", &source)
        .build(&mut |_| ())
        .expect("it compiles");
    let mut model = design.instance();
    let port = |name: &str| design.port(name).expect("a port of the array");
    let (word, x, tag, sums) = (port("word"), port("x"), port("tag"), port("sums"));
    let tag_of = |valid: bool, first: bool, last: bool| {
        let mut words = [0u32; WORD_TAG_BITS.div_ceil(32)];
        for (name, set) in [("valid", valid), ("first", first), ("last", last)] {
            words[tag_bit(name) as usize / 32] |= u32::from(set) << (tag_bit(name) % 32);
        }
        words
    };

    let mut rng = Rng::new(8);
    let mut byte = || rng.within(-128, 127) as i8;
    let alone = |lane: usize| {
        let mut weights = [[0i8; COLUMNS]; ROWS];
        weights[lane / COLUMNS][lane % COLUMNS] = if lane.is_multiple_of(2) { -128 } else { 127 };
        (weights, [-128i8; COLUMNS])
    };
    let mut cases: Vec<_> = (0..ROWS * COLUMNS).map(alone).collect();
    cases.extend((0..10_000).map(|_| {
        (
            std::array::from_fn(|_| std::array::from_fn(|_| byte())),
            std::array::from_fn(|_| byte()),
        )
    }));

    // Row groups of one to three words, back to back. A word's tag follows with its products.
    let first: Vec<bool> = (0..cases.len())
        .map(|i| i < ROWS * COLUMNS + 5000 || i % 3 == 0 || i % 7 == 0)
        .collect();
    let is_last = |i: usize| first.get(i + 1).copied().unwrap_or(true);
    let mut expected = [0i32; ROWS];
    let mut compared = 0;
    for clock in 0..cases.len() + Dot8::LATENCY {
        if let Some((weights, vector)) = cases.get(clock) {
            let bytes = |bytes: &[i8]| u32::from_le_bytes(std::array::from_fn(|i| bytes[i] as u8));
            let lanes: Vec<u32> = weights
                .iter()
                .flat_map(|row| row.chunks(4))
                .map(bytes)
                .collect();
            model.poke_wide(word, &lanes);
            model.poke_wide(x, &vector.chunks(4).map(bytes).collect::<Vec<_>>());
        }
        let arrived = clock.checked_sub(Dot8::LATENCY);
        model.poke_wide(
            tag,
            &arrived.map_or(tag_of(false, false, false), |i| {
                tag_of(true, first[i], is_last(i))
            }),
        );
        model.tick();
        let Some(i) = arrived else { continue };
        for (sum, weights) in expected.iter_mut().zip(cases[i].0) {
            *sum = if first[i] { 0 } else { *sum } + Dot8::model(cases[i].1, weights);
        }
        if is_last(i) {
            let got: Vec<i32> = model
                .peek_wide(sums)
                .iter()
                .map(|&sum| sum as i32)
                .collect();
            assert_eq!(got, expected, "case {i}");
            compared += 1;
        }
    }
    assert!(compared > 5000, "only {compared} groups were compared");
}
