//! What open synthesis makes of the pico-ice's core, for an iCE40UP5K: that it fits, and that
//! the netlist, of the vendor's cells as Yosys models them, still computes every bit.

use annulus_contract::link::Master;
use annulus_hdl::boards::pico_ice::SYNTHESIS;
use annulus_hdl::folded::array::Products;
use annulus_model::random::Rng;
use annulus_sim::link::{SpiDesign, SpiMaster, Timing};
use annulus_sim::verilated::Build;
use annulus_tests::{cells, runs_the_shipped_model, synthesized, yosys_share};
use std::path::{Path, PathBuf};

/// Most LUTs by Yosys' count: packing adds registers and carries to the 5,280 there are.
const LUTS: usize = 4_700;
const BLOCK_RAMS: usize = 30;
const SPRAMS: usize = 4;
const MULTIPLIERS: usize = 8;

/// The board's wires under the names that a simulated link has for them.
const WIRES: &str = "
module top(input clock, input sck, input cs, input mosi, output miso, output busy, output chosen);
    wire waits, talks;
    board board(.clock(clock), .sck(sck), .cs(cs), .mosi(mosi), .miso(miso),
        .led_green(busy), .led_red(waits), .led_blue(talks));
    assign chosen = !waits;
endmodule
";

/// A folder with the netlist, the counts of its cells and Yosys' log.
fn netlist_of(verilog: &str) -> PathBuf {
    synthesized(
        &format!("`define ANNULUS_ICE40\n{verilog}"),
        &format!("{SYNTHESIS}; rename top board; write_verilog -noattr netlist.v"),
    )
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("it was written")
}

/// The netlist with Yosys' models of the device's cells.
fn netlist(folder: &Path) -> String {
    // Defaults of inputs are not for Verilator.
    format!(
        "{}\n`define NO_ICE40_DEFAULT_ASSIGNMENTS\n{}",
        read(folder, "netlist.v"),
        yosys_share("ice40/cells_sim.v")
    )
}

fn board() -> PathBuf {
    netlist_of(&annulus_hdl::boards::verilog("pico-ice").expect("a board with a top"))
}

#[test]
fn the_board_fits_its_device() {
    let folder = board();
    let log = read(&folder, "log.txt");
    for fault in ["Latch inferred", "multiple conflicting drivers"] {
        let found = log.lines().filter(|line| line.contains(fault));
        assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
    }
    let cells = cells(&folder);
    println!("{cells:?}");
    for (kind, most) in [
        ("SB_LUT4", LUTS),
        ("SB_RAM40_4K", BLOCK_RAMS),
        ("SB_SPRAM256KA", SPRAMS),
        ("SB_MAC16", MULTIPLIERS),
    ] {
        let used = cells.get(kind).copied().unwrap_or(0);
        assert!((1..=most).contains(&used), "{kind}: {used} of {most}");
    }
}

/// Edges from operands to their sum.
const LATENCY: usize = 3;

/// Yosys has dropped multipliers of registered dot products without a word: every product is
/// alone at first, then all are random.
#[test]
fn the_netlist_of_the_dot_product_keeps_every_product() {
    let products = annulus_hdl::verilog(Products::default());
    let folder = netlist_of(&products);
    assert_eq!(
        cells(&folder).get("SB_MAC16"),
        Some(&4),
        "two products a block"
    );
    let source = netlist(&folder).replace("module board", "module top");
    let design = Build::new("products_netlist", &source)
        .build(&mut |_| ())
        .expect("it compiles");
    let mut model = design.instance();
    let port = |name: &str| design.port(name).expect("a port");
    let (x, w, sum) = (port("x"), port("w"), port("sum"));
    let mut rng = Rng::new(3);
    let mut byte = || rng.within(-128, 127) as i8;
    let alone = |lane: usize, value: i8| std::array::from_fn(|i| if i == lane { value } else { 0 });
    let mut cases: Vec<([i8; 8], [i8; 8])> = (0..8)
        .flat_map(|lane| [-128, 127].map(|value| (alone(lane, value), [-128; 8])))
        .collect();
    cases.extend((0..10_000).map(|_| {
        (
            std::array::from_fn(|_| byte()),
            std::array::from_fn(|_| byte()),
        )
    }));
    let bytes = |v: [i8; 8]| u64::from_le_bytes(v.map(|b| b as u8));
    let mut compared = 0;
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
            compared += 1;
        }
    }
    assert_eq!(compared, cases.len());
}

/// The netlist of the whole board, loaded over SPI, gives every bit of the shipped model.
#[test]
fn the_netlist_of_the_board_runs_the_shipped_model() {
    let source = netlist(&board()) + WIRES;
    let wire = SpiDesign::of_build(&Build::new("pico_ice_netlist", &source), &mut |_| ())
        .expect("it compiles")
        .instance(Timing::FASTEST);
    let master: SpiMaster = Master::new(wire).expect("the netlist answers");
    runs_the_shipped_model("pico-ice", master, 40);
}
