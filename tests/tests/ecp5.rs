//! What open synthesis makes of the ULX3S's top, for an ECP5: the netlist, of the vendor's cells,
//! still computes every bit. Yosys models most of those cells; `cells/ecp5.v` models block RAM and
//! multiplier, and is first held to what their data sheets say.

use annulus_bitstreams::{board, flow};
use annulus_contract::{regs, shape};
use annulus_hdl::boards::ulx3s;
use annulus_hdl::units::registers::{READ_CYCLES, RESET_CYCLES};
use annulus_model::random::Rng;
use annulus_runtime::backend::SimBus;
use annulus_sim::core::CoreDesign;
use annulus_sim::verilated::{lint, Build, Model};
use annulus_tests::netlist::{Netlist, Port};
use annulus_tests::{
    cells, ecp5_logic_of_yosys, multiplies, runs_the_shipped_model, synthesized, synthesized_by,
    ECP5_CELLS, ECP5_LOGIC,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

// ---- block RAM ---------------------------------------------------------------

/// Bits of a group, which has a write enable of its own where a word has several.
const GROUP: u32 = 9;
/// Bits of a block RAM.
const BITS: u32 = 18_432;
/// Widths of words that yosys uses here.
const WIDTHS: [u32; 3] = [9, 18, 36];

/// A block RAM in one clock, A to write and B to read; where words are of 36 bits, A has their
/// lower half.
const BLOCK_RAM: &str = "
module top(
    input clock, input [13:0] to, at, input [35:0] data, input write, enable_a, enable_b,
    input select, output [17:0] q_a, q_b
);
    DP16KD #(SETTINGS, .CLKAMUX(\"CLKA\"), .CLKBMUX(\"CLKB\"), .GSR(\"DISABLED\"),
        .WRITEMODE_A(\"READBEFOREWRITE\"), .WRITEMODE_B(\"READBEFOREWRITE\"), .RESETMODE(\"ASYNC\")
    ) ram (
        .CLKA(clock), .CEA(enable_a), .OCEA(1'b1), .WEA(write), .RSTA(1'b0),
        .CLKB(clock), .CEB(enable_b), .OCEB(1'b1), .WEB(1'b0), .RSTB(1'b0),
        .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0), .CSB0(1'b0), .CSB1(1'b0), .CSB2(select),
        PINS
    );
endmodule
";

/// `.NAME0(signal[0]), .NAME1(signal[1]), ...`
fn pins(name: &str, signal: &str, bits: Range<usize>) -> String {
    let first = bits.start;
    let pins = bits.map(|i| format!(".{name}{}({signal}[{i}])", i - first));
    pins.collect::<Vec<_>>().join(", ")
}

fn block_ram(settings: &str) -> String {
    let pins = [
        pins("ADA", "to", 0..14),
        pins("ADB", "at", 0..14),
        pins("DIA", "data", 0..18),
        pins("DIB", "data", 18..36),
        pins("DOA", "q_a", 0..18),
        pins("DOB", "q_b", 0..18),
    ];
    let top = BLOCK_RAM.replace("SETTINGS", settings);
    top.replace("PINS", &pins.join(",\n")) + ECP5_CELLS
}

/// What a memory is asked in a cycle.
struct Access {
    to: u32,
    at: u32,
    data: u64,
    /// Write enables of groups.
    groups: u64,
    reads: bool,
}

/// Accesses of words of so many bits: few words, so that most are read after they were written.
fn accesses(width: u32) -> Vec<Access> {
    let mut rng = Rng::new(u64::from(width));
    let words = (BITS / width) as i32;
    let mut word = || {
        let near = rng.within(0, 7);
        (if rng.within(0, 1) == 0 {
            near
        } else {
            words - 1 - near
        }) as u32
    };
    let mut places: Vec<(u32, u32)> = (0..20_000).map(|_| (word(), word())).collect();
    let mut rng = Rng::new(99);
    // Every word once, so that no line of the address is without a meaning.
    places.extend((0..words as u32).map(|to| (to, to.wrapping_sub(1) % words as u32)));
    places
        .into_iter()
        .map(|(to, at)| Access {
            to,
            at,
            data: (0..width).fold(0, |bits, _| bits << 1 | rng.within(0, 1) as u64),
            groups: rng.within(0, (1 << (width / GROUP)) - 1) as u64,
            reads: rng.within(0, 3) > 0,
        })
        .collect()
}

/// Runs accesses on a memory of words and compares what `cycle` reads of the one at hand. A read
/// of what is being written gives nothing that can be relied on.
fn agrees(width: u32, mut cycle: impl FnMut(&Access) -> u64) {
    let mut words = vec![0u64; (BITS / width) as usize];
    let mut shown: Option<u64> = None;
    let (mut compared, mut undefined) = (0, 0);
    for access in accesses(width) {
        let q = cycle(&access) & ((1 << width) - 1);
        let old = words[access.at as usize];
        if access.reads {
            shown = (access.groups == 0 || access.to != access.at).then_some(old);
            if shown.is_none() {
                assert_ne!(q, old, "{width} bits: the old word is not promised");
                undefined += 1;
            }
        }
        if let Some(shown) = shown {
            assert_eq!(q, shown, "{width} bits, word {}", access.at);
            compared += 1;
        }
        let mask = (0..width / GROUP)
            .filter(|group| access.groups >> group & 1 == 1)
            .fold(0u64, |mask, group| mask | 0x1ff << (GROUP * group));
        let word = &mut words[access.to as usize];
        *word = *word & !mask | access.data & mask;
    }
    assert!(
        compared > 10_000 && undefined > 100,
        "{compared}, {undefined}"
    );
}

#[test]
fn the_model_of_block_ram_is_that_of_its_data_sheet() {
    for width in WIDTHS {
        let settings = format!(".DATA_WIDTH_A({width}), .DATA_WIDTH_B({width})");
        let design = Build::new("ecp5_block_ram", &block_ram(&settings))
            .build(&mut |_| ())
            .expect("it compiles");
        let mut model = design.instance();
        let port = |name: &str| design.port(name).expect("a port");
        let [to, at, data, q_a, q_b] = ["to", "at", "data", "q_a", "q_b"].map(port);
        let [write, enable_a, enable_b, select] =
            ["write", "enable_a", "enable_b", "select"].map(port);
        // Bits of an address below that of a word; the lowest are the enables of its groups.
        let below = 14 - (BITS / width).ilog2();
        let groups = if width > GROUP { width / GROUP } else { 0 };
        let word = |model: &Model| match width {
            36 => model.peek(q_b) << 18 | model.peek(q_a),
            _ => model.peek(q_b),
        };
        let mut rng = Rng::new(5);
        agrees(width, |access| {
            let mut random = |bits: u32| rng.within(0, (1 << bits) - 1) as u64;
            let idle = random(below - groups) << groups;
            // Three ways to write nothing: no enable of a group, of writing, or of the port.
            let (write_enable, clock_enable, enables) = match (access.groups, random(2)) {
                (0, 0 | 1) => (0, 1, random(groups)),
                (0, 2) => (1, 0, random(groups)),
                (0, _) if groups == 0 => (0, 0, 0),
                (enables, _) => (1, 1, enables & ((1 << groups) - 1)),
            };
            model.poke(to, u64::from(access.to) << below | idle | enables);
            model.poke(at, u64::from(access.at) << below | random(below));
            model.poke(data, access.data);
            model.poke(write, write_enable);
            model.poke(enable_a, clock_enable);
            model.poke(enable_b, access.reads.into());
            model.tick();
            word(&model)
        });
        // A select that is not the block's own, which the model does not know, shows.
        model.poke(write, 0);
        model.poke(enable_b, 1);
        model.tick();
        let selected = word(&model);
        model.poke(select, 1);
        model.tick();
        assert_ne!(word(&model), selected);
    }
}

/// What yosys makes of memories of these widths, in block RAM as it understands it, holds what is
/// written: its idea of the cell's pins is the model's.
#[test]
fn memories_that_yosys_maps_to_block_ram_hold_what_is_written() {
    for width in WIDTHS {
        let verilog = format!(
            "module top(input clock, input [10:0] to, at, input [{width}-1:0] data,
                input [{width}/9-1:0] groups, input reads, output reg [{width}-1:0] q);
            (* no_rw_check, ram_style = \"block\" *) reg [{width}-1:0] words [0:{BITS}/{width}-1];
            integer i;
            always @(posedge clock) begin
                for (i = 0; i < {width}/9; i = i + 1)
                    if (groups[i]) words[to][9*i+:9] <= data[9*i+:9];
                if (reads) q <= words[at];
            end
            endmodule"
        );
        let folder = synthesized(
            &verilog,
            "synth_ecp5 -top top; write_verilog -noattr netlist.v",
        );
        assert_eq!(cells(&folder).get("DP16KD"), Some(&1), "{width} bits");
        let netlist = std::fs::read_to_string(folder.join("netlist.v")).expect("it was written");
        assert!(netlist.contains(&format!(".DATA_WIDTH_A(32'd{width})")));
        let design = Build::new(
            "ecp5_memory",
            &(netlist + &ecp5_logic_of_yosys() + ECP5_CELLS),
        )
        .build(&mut |_| ())
        .expect("it compiles");
        let mut model = design.instance();
        let port = |name: &str| design.port(name).expect("a port");
        let [to, at, data, groups, reads, q] =
            ["to", "at", "data", "groups", "reads", "q"].map(port);
        agrees(width, |access| {
            model.poke(to, access.to.into());
            model.poke(at, access.at.into());
            model.poke(data, access.data);
            model.poke(groups, access.groups);
            model.poke(reads, access.reads.into());
            model.tick();
            model.peek(q)
        });
    }
}

// ---- the multiplier ----------------------------------------------------------

const MULTIPLIER: &str = "
module top(
    input clock, input [17:0] a, b, input signed_a, signed_b, shifted, output [35:0] p
);
    MULT18X18D #(SETTINGS) multiplier (
        .SIGNEDA(signed_a), .SIGNEDB(signed_b), .SOURCEA(1'b0), .SOURCEB(shifted),
        PINS
    );
endmodule
";

fn multiplier(settings: &str) -> String {
    let pins = [
        pins("A", "a", 0..18),
        pins("B", "b", 0..18),
        pins("P", "p", 0..36),
    ];
    let top = MULTIPLIER.replace("SETTINGS", settings);
    top.replace("PINS", &pins.join(",\n")) + ECP5_CELLS
}

#[test]
fn the_model_of_the_multiplier_is_that_of_its_data_sheet() {
    multiplies("ecp5_multiplier", &multiplier(""), 18);
}

/// Ways to use the cells that the models do not know.
#[test]
fn what_is_not_modeled_is_refused() {
    let words = ".DATA_WIDTH_A(18), .DATA_WIDTH_B(18)";
    lint(&block_ram(words)).expect("words of 18 bits are modeled");
    lint(&multiplier("")).expect("a multiplier without registers is modeled");
    let also = |setting: &str| format!("{words}, {setting}");
    for (source, said) in [
        (
            block_ram(".DATA_WIDTH_A(4), .DATA_WIDTH_B(4)"),
            "width_is_not_modeled",
        ),
        (
            block_ram(".DATA_WIDTH_A(36), .DATA_WIDTH_B(18)"),
            "width_is_not_modeled",
        ),
        (
            block_ram(&also(".REGMODE_B(\"OUTREG\")")),
            "register_is_not_modeled",
        ),
        (
            block_ram(&also(".CSDECODE_A(\"0b001\")")),
            "select_is_not_modeled",
        ),
        (
            block_ram(&also(".INITVAL_2A(320'd7)")),
            "contents_are_not_modeled",
        ),
        (
            multiplier(".REG_OUTPUT_CLK(\"CLK0\")"),
            "register_is_not_modeled",
        ),
    ] {
        let refused = lint(&source).expect_err(said).to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

// ---- logic -------------------------------------------------------------------

/// Cells of every kind and setting that the netlists have, tables at random, whose outputs are the
/// bits of `side`; their kinds are named `prefix` and the cell's name.
fn every_kind(prefix: &str, side: &str) -> (String, usize) {
    let mut rng = Rng::new(4);
    let mut table = || format!("16'd{}", rng.within(0, 0xffff));
    let (mut text, mut bits) = (String::new(), 0);
    let mut cell = |kind: &str, settings: &str, inputs: &str, outputs: &[&str]| {
        let outputs = outputs.iter().map(|pin| {
            bits += 1;
            format!(", .{pin}({side}[{}])", bits - 1)
        });
        let outputs: String = outputs.collect();
        let name = text.lines().count();
        text += &format!("{prefix}{kind} #({settings}) {side}_{name}({inputs}{outputs});\n");
    };
    for _ in 0..16 {
        let settings = format!(".INIT({})", table());
        cell(
            "LUT4",
            &settings,
            ".A(x[0]), .B(x[1]), .C(x[2]), .D(x[3])",
            &["Z"],
        );
        let settings = format!(
            ".INIT0({}), .INIT1({}), .INJECT1_0(\"NO\"), .INJECT1_1(\"NO\")",
            table(),
            table()
        );
        let inputs = ".A0(x[0]), .B0(x[1]), .C0(x[2]), .D0(x[3]), .CIN(x[8]), \
                      .A1(x[4]), .B1(x[5]), .C1(x[6]), .D1(x[7])";
        cell("CCU2C", &settings, inputs, &["S0", "S1", "COUT"]);
    }
    cell("PFUMX", "", ".ALUT(x[0]), .BLUT(x[1]), .C0(x[2])", &["Z"]);
    cell("L6MUX21", "", ".D0(x[0]), .D1(x[1]), .SD(x[2])", &["Z"]);
    for enable in ["1", "CE", "INV"] {
        for set in ["SET", "RESET"] {
            let settings = format!(".CEMUX(\"{enable}\"), .REGSET(\"{set}\")");
            let inputs = ".CLK(clock), .LSR(&x[2:0]), .CE(x[3]), .DI(x[4])";
            cell("TRELLIS_FF", &settings, inputs, &["Q"]);
        }
    }
    let inputs = ".WCK(clock), .WRE(x[0]), .WAD(x[4:1]), .DI(x[8:5]), .RAD({x[8], x[3:1]})";
    text += &format!("wire [3:0] {side}_read;\n");
    text += &format!("{prefix}TRELLIS_DPR16X4 {side}_ram({inputs}, .DO({side}_read));\n");
    text += &format!("assign {side}[{}:{bits}] = {side}_read;\n", bits + 3);
    (text, bits + 4)
}

#[test]
fn our_models_of_logic_are_those_of_yosys() {
    let mut theirs = ecp5_logic_of_yosys();
    for kind in [
        "LUT4",
        "CCU2C",
        "PFUMX",
        "L6MUX21",
        "TRELLIS_FF",
        "TRELLIS_DPR16X4",
    ] {
        assert!(ECP5_LOGIC.contains(&format!("module {kind}(")), "{kind}");
        theirs = theirs.replace(kind, &format!("yosys_{kind}"));
    }
    let (ours_text, bits) = every_kind("", "ours");
    let (theirs_text, _) = every_kind("yosys_", "theirs");
    let source = format!(
        "module top(input clock, input [8:0] x, output [{0}:0] ours, theirs);\n\
         {ours_text}{theirs_text}endmodule\n{ECP5_LOGIC}{theirs}",
        bits - 1
    );
    let design = Build::new("ecp5_logic", &source)
        .build(&mut |_| ())
        .expect("it compiles");
    let mut model = design.instance();
    let [x, ours, theirs] = ["x", "ours", "theirs"].map(|name| design.port(name).expect("a port"));
    let mut rng = Rng::new(6);
    let mut seen = BTreeSet::new();
    // Every input, and a memory that is full.
    for i in 0..4096 {
        let input = if i < 512 { i } else { rng.within(0, 511) };
        model.poke(x, input as u64);
        model.eval();
        assert_eq!(model.peek_wide(ours), model.peek_wide(theirs), "{input:x}");
        model.tick();
        assert_eq!(model.peek_wide(ours), model.peek_wide(theirs), "{input:x}");
        seen.insert(model.peek_wide(ours));
    }
    assert!(seen.len() > 500, "{} outputs", seen.len());
}

// ---- the board ---------------------------------------------------------------

/// The netlist with the ports of a core, for a bench that is a [`SimCore`]. Its link gives each
/// access the time of a word on the line, so nothing says `ready` in it; here an access has
/// more cycles than a read takes, and a reset's (register REGISTER) more than a reset.
const BENCH: &str = "
module top(
    input clock, write, read, input [7:0] address, input [31:0] data,
    output [31:0] q, output busy, chosen, ready
);
    reg [5:0] since = 0;
    always @(posedge clock) since <= write || read ? 6'd1 : since == 0 ? 6'd0 : since + 6'd1;
    assign ready = since == (address == REGISTER ? 6'dRESET : 6'dREAD);
    netlist netlist(.clock(clock), .write(write), .read(read), .address(address), .data(data),
        .q(q), .busy(busy), .chosen(chosen));
endmodule
";

/// What drives the core's side of the link's registers, and the core's clock.
const INPUTS: [Port; 5] = [
    ("clock", "core.core.array.clock"),
    ("write", "core.link.held.write"),
    ("read", "core.link.held.read"),
    ("address", "core.core.conductor.address"),
    ("data", "core.core.conductor.data"),
];
/// What the link sees of the core.
const OUTPUTS: [Port; 3] = [
    ("q", "core.link.q"),
    ("busy", "led_busy"),
    ("chosen", "led_chosen"),
];

/// The core's memories and what each becomes: block RAM, or LUT RAM.
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

/// No latch, no signal with two drivers, no memory that became something else than was meant.
fn is_sound(log: &str) {
    for fault in ["Latch inferred", "conflict"] {
        let found = log.lines().filter(|line| line.contains(fault));
        assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
    }
    for (memory, kind) in MEMORIES {
        let mapped = format!("mapping memory top.core.core.{memory} via $__{kind}");
        assert!(
            log.lines().any(|line| line.starts_with(&mapped)),
            "no line '{mapped}...' in Yosys' log"
        );
    }
}

/// As many cells of each kind as the manifest of the committed bitstream counts.
fn is_what_the_bitstream_is_made_of(cells: &BTreeMap<String, usize>) {
    let manifest = include_str!("../../bitstreams/ulx3s/manifest.json");
    let manifest: Value = serde_json::from_str(manifest).expect("it is JSON");
    assert_eq!(Value::from(cells["LUT4"]), manifest["lut4"]);
    for kind in ["TRELLIS_FF", "DP16KD", "MULT18X18D"] {
        let used = &manifest["resources"][kind]["used"];
        assert_eq!(&Value::from(cells[kind]), used, "{kind}");
    }
}

/// The netlist of the whole board gives every bit of the shipped model. A UART would take
/// millions of cycles to load it, so the bench is where the link's registers meet the core's bus.
#[test]
fn the_netlist_of_the_board_runs_the_shipped_model() {
    let board = board::named(shape::ULX3S).expect("a board");
    let script = flow::script(board.device, &board.places());
    let folder = synthesized_by(&board.verilog(), &script);
    let read = |name| std::fs::read_to_string(folder.join(name)).expect("it was written");
    is_sound(&read("log.txt"));

    let bench = BENCH
        .replace("REGISTER", &regs::CONTROL.to_string())
        .replace("RESET", &(RESET_CYCLES + 2).to_string())
        .replace("READ", &(READ_CYCLES + 2).to_string());
    let netlist = Netlist::read(&read("synthesized.json")).verilog(&INPUTS, &OUTPUTS);
    let source = netlist + &bench + ECP5_LOGIC + ECP5_CELLS;
    let build = Build::new("ulx3s_netlist", &(source + ulx3s::MODELS)).quick(true);
    let design = CoreDesign::of_build(&build, &mut |_| ()).expect("it compiles");
    runs_the_shipped_model(shape::ULX3S, SimBus::from(design.instance()), 20);
    is_what_the_bitstream_is_made_of(&cells(&folder));
}
