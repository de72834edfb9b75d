//! What open synthesis makes of the core for the ULX3S: that it infers what was
//! meant, that it fits, and that the netlist still multiplies.

use annulus_contract::shape;
use annulus_contract::step::COLUMNS;
use annulus_hdl::boards::ulx3s;
use annulus_hdl::cells::Dot8;
use annulus_hdl::units::array::DotArray;
use annulus_hdl::units::tag::{WORD_TAG, WORD_TAG_BITS};
use annulus_model::random::Rng;
use annulus_sim::verilated::Build;
use annulus_tests::{cells, synthesize, ECP5_CELLS, ECP5_LOGIC};

/// Cells of an ECP5-85F. A LUT RAM takes the place of four LUTs in two slices.
const LUTS: usize = 83_640;
const FLIP_FLOPS: usize = 83_640;
const BLOCK_RAMS: usize = 208;
const MULTIPLIERS: usize = 156;

fn board_core() -> String {
    let shape = shape::of_board("ulx3s").expect("a board");
    annulus_hdl::core_verilog(&shape).expect("a core of eight rows")
}

/// No latch, no signal with two drivers or none, no memory that became flip-flops.
fn is_sound(log: &str) {
    let latches = log.lines().filter(|l| l.contains("Latch inferred"));
    assert_eq!(latches.collect::<Vec<_>>(), [""; 0]);
    let conflicts = log
        .lines()
        .filter(|l| l.contains("conflict") && l.contains("Warning"));
    assert_eq!(conflicts.collect::<Vec<_>>(), [""; 0]);
    for (memory, kind) in MEMORIES {
        let mapped = format!("mapping memory top.{memory} via $__{kind}");
        assert!(
            log.lines().any(|l| l.starts_with(&mapped)),
            "no line '{mapped}...' in Yosys' log"
        );
    }
}

/// The memories and what each becomes: block RAM, or LUT RAM.
const MEMORIES: [(&str, &str); 16] = [
    ("memory.mem_0", "DP16KD"),
    ("scales.mem", "DP16KD"),
    ("scores.key_scales", "DP16KD"),
    ("sequencer.mem", "PDPW16KD"),
    ("gains.mem", "TRELLIS_DPR16X4"),
    ("queries.mem", "TRELLIS_DPR16X4"),
    ("residual.mem_0", "TRELLIS_DPR16X4"),
    ("hidden.mem_0", "TRELLIS_DPR16X4"),
    ("scores.bank_0", "TRELLIS_DPR16X4"),
    ("scores.query_scales", "TRELLIS_DPR16X4"),
    ("sampler.logits", "TRELLIS_DPR16X4"),
    ("heads.queue", "TRELLIS_DPR16X4"),
    ("rope.angles", "TRELLIS_DPR16X4"),
    ("rope.phase", "TRELLIS_DPR16X4"),
    ("conductor.inputs", "TRELLIS_DPR16X4"),
    ("conductor.outputs", "TRELLIS_DPR16X4"),
];

#[test]
fn memories_and_multipliers_of_the_board_core_are_inferred() {
    let folder = tempfile::tempdir().expect("a folder");
    // Up to where logic would be mapped to gates, the slow part. Every memory that the floorplan
    // gives a place must be there by its name.
    let shape = shape::of_board("ulx3s").expect("a board");
    let places = ulx3s::floorplan(&shape);
    let named = places.iter().map(|(cell, _)| {
        let cell = cell.strip_prefix("core.core.").expect("a cell of the core");
        format!("; select -assert-count 1 c:{cell} t:DP16KD %i")
    });
    let commands =
        "synth_ecp5 -top top -run begin:map_gates".to_owned() + &named.collect::<String>();
    let log = synthesize(folder.path(), &board_core(), &commands);
    is_sound(&log);
    let cells = cells(folder.path());
    let count = |name: &str| cells.get(name).copied().unwrap_or(0);
    println!(
        "block RAMs {}, multipliers {}, LUT RAMs {}",
        count("DP16KD"),
        count("MULT18X18D"),
        count("TRELLIS_DPR16X4")
    );
    assert!(
        count("DP16KD") <= BLOCK_RAMS,
        "{} block RAMs",
        count("DP16KD")
    );
    assert!(
        count("MULT18X18D") <= MULTIPLIERS,
        "{} multipliers",
        count("MULT18X18D")
    );
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn the_board_core_fits_its_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = synthesize(folder.path(), &board_core(), "synth_ecp5 -top top");
    is_sound(&log);
    let cells = cells(folder.path());
    println!("{cells:?}");
    let count = |name: &str| cells.get(name).copied().unwrap_or(0);
    let luts = count("LUT4") + 2 * count("CCU2C") + 4 * count("TRELLIS_DPR16X4");
    for (what, used, there) in [
        ("LUTs", luts, LUTS),
        ("flip-flops", count("TRELLIS_FF"), FLIP_FLOPS),
        ("block RAMs", count("DP16KD"), BLOCK_RAMS),
        ("multipliers", count("MULT18X18D"), MULTIPLIERS),
    ] {
        println!("{what}: {used} of {there}");
        assert!(used > 0 && used <= there, "{used} {what} of {there}");
    }
}

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
    let folder = tempfile::tempdir().expect("a folder");
    let verilog = annulus_hdl::verilog(DotArray::<{ 64 * ROWS }, { 32 * ROWS }>::new());
    synthesize(
        folder.path(),
        &verilog,
        "synth_ecp5 -top top; write_verilog -noattr netlist.v",
    );
    assert_eq!(
        cells(folder.path()).get("MULT18X18D"),
        Some(&(ROWS * COLUMNS))
    );

    let netlist = std::fs::read_to_string(folder.path().join("netlist.v")).expect("the netlist");
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
