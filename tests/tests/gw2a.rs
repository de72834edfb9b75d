//! What open synthesis makes of the Tang Nano 20K's top, for a GW2AR-18: that it fits, and that the
//! netlist, of the vendor's cells, still computes every bit. Yosys models most of those cells;
//! `cells/gw2a.v` models block RAM and multipliers, and is first held to what their data sheets say.

use annulus_contract::link::uart::Uart;
use annulus_contract::link::Master;
use annulus_hdl::boards::tang_nano_20k::CLOCK;
use annulus_model::random::Rng;
use annulus_sim::link::uart::{UartDesign, UartMaster};
use annulus_sim::verilated::{lint, Build};
use annulus_tests::{cells, multiplies, runs_the_shipped_model, synthesized, yosys_share};
use serde_json::Value;
use std::path::{Path, PathBuf};

const BOARD: &str = "tang-nano-20k";

/// Our models of block RAM and multipliers, for which Yosys has none.
const CELLS: &str = include_str!("../cells/gw2a.v");

/// Yosys' models of a GW2A's logic, which stand before those of memories in its file.
fn logic() -> String {
    let all = yosys_share("gowin/cells_sim.v");
    let (logic, _) = all
        .split_once("(* blackbox *)\nmodule SP ")
        .expect("block RAMs follow");
    logic.to_owned()
}

fn netlist_of(verilog: &str) -> PathBuf {
    let commands = "synth_gowin -family gw2a -top top; write_verilog -noattr netlist.v";
    synthesized(verilog, commands)
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("it was written")
}

// ---- block RAM ---------------------------------------------------------------

/// How a memory of so many bits a word is asked for in Verilog, and the cell that it becomes.
struct Kind {
    cell: &'static str,
    /// Bits of a word, and of a group with a write enable of its own.
    width: u32,
    group: u32,
    words: u32,
    /// Reads and writes are at one address.
    single: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        cell: "SP",
        width: 2,
        group: 2,
        words: 8192,
        single: true,
    },
    Kind {
        cell: "SPX9",
        width: 18,
        group: 9,
        words: 1024,
        single: true,
    },
    Kind {
        cell: "DPX9B",
        width: 9,
        group: 9,
        words: 2048,
        single: false,
    },
    Kind {
        cell: "DPX9B",
        width: 18,
        group: 9,
        words: 1024,
        single: false,
    },
    Kind {
        cell: "SDPX9B",
        width: 36,
        group: 9,
        words: 512,
        single: false,
    },
];

impl Kind {
    /// What the word at this place is at first.
    fn initial(&self, at: u32) -> u64 {
        u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.width)
    }

    fn verilog(&self) -> String {
        let Kind {
            width,
            group,
            words,
            single,
            ..
        } = self;
        let read = if *single {
            "if (reads && groups == 0) q <= words[to];"
        } else {
            "if (reads) q <= words[at];"
        };
        let initial: String = (0..*words)
            .map(|at| format!("    words[{at}] = {width}'d{};\n", self.initial(at)))
            .collect();
        format!(
            "module top(input clock, input [12:0] to, at, input [{width}-1:0] data,
                input [{width}/{group}-1:0] groups, input reads, output reg [{width}-1:0] q);
            (* no_rw_check, ram_style = \"block\" *) reg [{width}-1:0] words [0:{words}-1];
            integer i;
            initial begin
            {initial}end
            always @(posedge clock) begin
                for (i = 0; i < {width}/{group}; i = i + 1)
                    if (groups[i]) words[to][{group}*i+:{group}] <= data[{group}*i+:{group}];
                {read}
            end
            endmodule"
        )
    }
}

/// What yosys makes of memories of these widths, in block RAM as it understands it, holds what is
/// written, and what it was configured with.
#[test]
fn memories_that_yosys_maps_to_block_ram_hold_what_is_written() {
    for kind in KINDS {
        let Kind {
            cell,
            width,
            group,
            words,
            single,
        } = kind;
        let folder = netlist_of(&kind.verilog());
        assert_eq!(cells(&folder).get(cell), Some(&1), "{cell}, {width} bits");
        let source = read(&folder, "netlist.v") + &logic() + CELLS;
        let design = Build::new("gw2a_memory", &source)
            .build(&mut |_| ())
            .expect("it compiles");
        let mut model = design.instance();
        let port = |name: &str| design.port(name).expect("a port");
        let [to, at, data, groups, reads, q] =
            ["to", "at", "data", "groups", "reads", "q"].map(port);
        let mut rng = Rng::new(u64::from(width));
        let mut expected: Vec<u64> = (0..words).map(|at| kind.initial(at)).collect();
        let mut shown = None;
        let (mut compared, mut undefined) = (0, 0);
        // Every word as it was configured, then few words, so that most are read after they were
        // written.
        for i in 0..words + 20_000 {
            let mut near = || {
                let near = rng.within(0, 7) as u32;
                if rng.within(0, 1) == 0 {
                    near
                } else {
                    words - 1 - near
                }
            };
            let (write, read) = if i < words { (i, i) } else { (near(), near()) };
            let wanted = rng.within(0, (1 << (width / group)) - 1) as u64;
            let enables = if i < words { 0 } else { wanted };
            let value = (0..width).fold(0, |bits, _| bits << 1 | rng.within(0, 1) as u64);
            let asks = i < words || rng.within(0, 3) > 0;
            model.poke(to, write.into());
            model.poke(at, read.into());
            model.poke(data, value);
            model.poke(groups, enables);
            model.poke(reads, asks.into());
            model.tick();
            if asks && single && enables == 0 {
                shown = Some(expected[write as usize]);
            } else if asks && !single {
                let collides = enables != 0 && write == read;
                shown = (!collides).then_some(expected[read as usize]);
                undefined += u32::from(collides);
            }
            if let Some(shown) = shown {
                assert_eq!(model.peek(q), shown, "{cell}, {width} bits, {write} {read}");
                compared += 1;
            }
            for group in (0..width / group).filter(|group| enables >> group & 1 == 1) {
                let mask = ((1 << kind.group) - 1) << (kind.group * group);
                let word = &mut expected[write as usize];
                *word = *word & !mask | value & mask;
            }
        }
        assert!(
            compared > 10_000 && (single || undefined > 100),
            "{compared}, {undefined}"
        );
    }
}

/// One block RAM as the data sheet has it, of 36 bits a word in both ports.
const BLOCK_RAM: &str = "
module top(input clock, input [13:0] to, at, input [35:0] data, input enable, reads, input [2:0] block,
    output [35:0] q);
    SDPX9B #(SETTINGS) ram(.CLKA(clock), .CEA(enable), .RESETA(1'b0), .BLKSELA(3'd0), .ADA(to), .DI(data),
        .CLKB(clock), .CEB(reads), .RESETB(1'b0), .OCE(1'b1), .BLKSELB(block), .ADB(at), .DO(q));
endmodule
";

fn block_ram(settings: &str) -> String {
    BLOCK_RAM.replace("SETTINGS", settings) + CELLS
}

/// By the data sheet: a word is at bits 13 to 5 of an address, whose bits 3 to 0 are the write
/// enables of its four groups of nine bits; it is configured with a 32nd of `INIT_RAM_xx` each.
#[test]
fn the_model_of_block_ram_is_that_of_its_data_sheet() {
    let settings = ".INIT_RAM_02({252'd5, 36'h9_8765_4321})";
    let design = Build::new("gw2a_block_ram", &block_ram(settings));
    let design = design.build(&mut |_| ()).expect("it compiles");
    let mut model = design.instance();
    let port = |name: &str| design.port(name).expect("a port");
    let [to, at, data, enable, reads, block, q] =
        ["to", "at", "data", "enable", "reads", "block", "q"].map(port);
    model.poke(reads, 1);
    // The word before is of the same parameter, the first of it.
    for (word, expected) in [(16, 0x9_8765_4321), (17, 5), (18, 0)] {
        model.poke(at, word << 5);
        model.tick();
        assert_eq!(model.peek(q), expected, "word {word}");
    }
    model.poke(enable, 1);
    model.poke(to, 16 << 5 | 0b1010);
    model.poke(data, 0xf_ffff_ffff);
    model.tick();
    model.poke(enable, 0);
    model.poke(at, 16 << 5);
    model.tick();
    let groups = 0x1ff << 27 | 0x1ff << 9;
    assert_eq!(model.peek(q), 0x9_8765_4321 | groups);
    // A port that is not enabled keeps what it shows; one of another block does not pass for it.
    model.poke(reads, 0);
    model.poke(at, 17 << 5);
    model.tick();
    assert_eq!(model.peek(q), 0x9_8765_4321 | groups);
    model.poke(block, 1);
    model.eval();
    assert_ne!(model.peek(q), 0x9_8765_4321 | groups);
}

// ---- the multipliers ---------------------------------------------------------

fn multiplier(kind: &str, bits: u32, settings: &str) -> String {
    format!(
        "module top(input clock, input [{bits}-1:0] a, b, input signed_a, signed_b, shifted,
            output [2*{bits}-1:0] p);
        {kind} #({settings}) multiplier(.A(a), .B(b), .SIA({bits}'d0), .SIB({bits}'d0), .ASIGN(signed_a),
            .BSIGN(signed_b), .ASEL(shifted), .BSEL(1'b0), .CE(1'b0), .CLK(1'b0), .RESET(1'b0),
            .DOUT(p), .SOA(), .SOB());
        endmodule\n{CELLS}"
    )
}

#[test]
fn the_models_of_multipliers_are_those_of_their_data_sheet() {
    for (kind, bits) in [("MULT9X9", 9), ("MULT18X18", 18)] {
        multiplies("gw2a_multiplier", &multiplier(kind, bits, ""), bits);
    }
}

/// Ways to use the cells that the models do not know.
#[test]
fn what_is_not_modeled_is_refused() {
    lint(&block_ram("")).expect("words of 36 bits are modeled");
    lint(&multiplier("MULT9X9", 9, "")).expect("a multiplier without registers is modeled");
    for (source, said) in [
        (block_ram(".BIT_WIDTH_0(18)"), "width_is_not_modeled"),
        (block_ram(".READ_MODE(1'b1)"), "register_is_not_modeled"),
        (block_ram(".BLK_SEL_1(3'd1)"), "select_is_not_modeled"),
        (
            multiplier("MULT18X18", 18, ".OUT_REG(1'b1)"),
            "register_is_not_modeled",
        ),
    ] {
        let refused = lint(&source).expect_err(said).to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

// ---- the board ---------------------------------------------------------------

/// Loads and runs the shipped model through the pins of the board.
fn runs(name: &str, source: &str, tokens: usize) {
    let wires = ["uart_rx", "uart_tx", "led_busy"];
    let line = UartDesign::of_build(&Build::new(name, source), wires, CLOCK, &mut |_| ())
        .expect("it compiles")
        .instance(0);
    let master: UartMaster = Master::new(Uart::new(line)).expect("the core answers");
    runs_the_shipped_model(BOARD, master, tokens);
}

fn top() -> String {
    annulus_hdl::boards::verilog(BOARD).expect("a board with a top")
}

#[test]
fn the_top_runs_the_shipped_model_through_its_pins() {
    runs("tang_nano_20k", &top(), 20);
}

/// The netlist has the cells that the committed bitstream's manifest counts, and gives every bit.
#[test]
fn the_netlist_of_the_board_runs_the_shipped_model() {
    let folder = netlist_of(&top());
    let manifest = include_str!("../../bitstreams/tang-nano-20k/manifest.json");
    let manifest: Value = serde_json::from_str(manifest).expect("it is JSON");
    let cells = cells(&folder);
    let count = |kind: &str| cells.get(kind).copied().unwrap_or(0);
    let luts: usize = ["LUT1", "LUT2", "LUT3", "LUT4"]
        .map(count)
        .into_iter()
        .sum();
    assert_eq!(Value::from(luts), manifest["lut4"]);
    for kind in ["MULT9X9", "MULT18X18"] {
        let used = &manifest["resources"][kind]["used"];
        assert_eq!(&Value::from(count(kind)), used, "{kind}");
    }
    let source = read(&folder, "netlist.v") + &logic() + CELLS;
    runs("tang_nano_20k_netlist", &source, 20);
}
