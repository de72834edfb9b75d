//! Small hand-written designs through the whole way: Verilog, library, model.

use std::fs;
use std::time::{Duration, Instant};

use annulus_sim::verilated::{
    lint, Build, Coverage, CoverageKind, Design, Progress, SimError, Trace,
};

/// A clocked design with every kind of port; non-ANSI, as rust-hdl writes it.
const COUNTER: &str = "
module top(clock, step, load$0, wide_in, count, total, negative, wide, sum);
    input wire clock;
    input wire [3:0] step;
    input wire load$0;
    input wire [99:0] wide_in;
    output reg [15:0] count;
    output reg [63:0] total;
    output wire signed [11:0] negative;
    output reg [99:0] wide;
    output wire [4:0] sum;
    initial begin count = 0; total = 0; wide = 0; end
    assign negative = -$signed(count[11:0]);
    assign sum = {1'b0, step} + 5'd1;
    always @(posedge clock) begin
        count <= load$0 ? 16'd100 : count + {12'd0, step};
        total <= total + 64'h1_0000_0001;
        wide <= wide + wide_in;
    end
endmodule
";

fn build(build: Build) -> Design {
    build.build(&mut |_| ()).unwrap()
}

#[test]
fn ports_of_every_width_hold_what_the_design_says() {
    let mut model = build(Build::new("counter", COUNTER)).instance();
    let [step, load, wide_in, count, total, negative, wide, sum] = [
        "step", "load$0", "wide_in", "count", "total", "negative", "wide", "sum",
    ]
    .map(|n| model.port(n).unwrap());
    assert_eq!((step.width(), total.width(), wide.width()), (4, 64, 100));
    assert!(step.is_input() && !count.is_input());

    model.poke(step, 3);
    assert_eq!(model.peek(sum), 1, "an input is not seen before eval");
    model.eval();
    assert_eq!(model.peek(sum), 4);
    assert_eq!(model.peek(count), 0, "eval is no clock edge");
    model.poke_wide(wide_in, &[0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0x7]);
    model.tick();
    assert_eq!(model.peek(count), 3);
    model.run(9);
    assert_eq!(model.peek(count), 30);
    assert_eq!(model.peek_signed(negative), -30);
    assert_eq!(model.peek(total), 10 * 0x1_0000_0001);
    assert_eq!(model.peek_wide(total), [10, 10]);

    // 10 * (2^99 - 1) mod 2^100 = 2^100 - 10.
    assert_eq!(
        model.peek_wide(wide),
        [0xffff_fff6, 0xffff_ffff, 0xffff_ffff, 0xf]
    );
    assert_eq!(model.peek(wide), 0xffff_ffff_ffff_fff6);

    model.poke(load, 1);
    model.poke(wide_in, 10);
    model.tick();
    assert_eq!(model.peek(count), 100);
    assert_eq!(model.peek_wide(wide), [0; 4]);
}

#[test]
fn run_until_counts_cycles_and_gives_up() {
    let mut model = build(Build::new("counter", COUNTER)).instance();
    let (step, count, total) = (
        model.port("step").unwrap(),
        model.port("count").unwrap(),
        model.port("total").unwrap(),
    );
    model.poke(step, 1);
    assert_eq!(model.run_until(count, 1000, 5000), Some(1000));
    assert_eq!(model.run_until(count, 1000, 5000), Some(0));
    assert_eq!(model.run_until(count, 999, 50), None);
    assert_eq!(model.peek(count), 1050);
    assert_eq!(model.run_until(total, 1051 * 0x1_0000_0001, 50), Some(1));
}

#[test]
fn models_of_one_design_are_independent_and_move_between_threads() {
    let design = build(Build::new("counter", COUNTER));
    let counts: Vec<_> = std::thread::scope(|scope| {
        let runs = [1, 2, 3].map(|step| {
            let mut model = design.instance();
            scope.spawn(move || {
                model.poke(model.port("step").unwrap(), step);
                model.run(100);
                model.peek(model.port("count").unwrap())
            })
        });
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(counts, [100, 200, 300]);
}

#[test]
fn signed_pokes_and_combinational_designs() {
    let verilog = "module top(input signed [9:0] a, input signed [71:0] w, output signed [10:0] twice, output [7:0] high);
        assign twice = {a, 1'b0};
        assign high = w[71:64];
    endmodule";
    let mut model = build(Build::new("combinational", verilog)).instance();
    let [a, w, twice, high] = ["a", "w", "twice", "high"].map(|n| model.port(n).unwrap());
    for value in [-512, -1, 0, 511] {
        model.poke_signed(a, value);
        model.tick();
        assert_eq!(model.peek_signed(twice), 2 * value);
    }
    model.poke_wide(w, &[0, 0, 0xa5]);
    model.eval();
    assert_eq!(model.peek(high), 0xa5);
    model.poke(w, u64::MAX);
    model.eval();
    assert_eq!(model.peek(high), 0, "words that are not given are zero");
}

#[test]
#[should_panic(expected = "more than 4 bits")]
fn a_value_too_wide_for_its_port_is_a_bug_of_the_caller() {
    let mut model = build(Build::new("counter", COUNTER)).instance();
    model.poke(model.port("step").unwrap(), 16);
}

#[test]
fn parameters_and_defines_reach_the_verilog() {
    let verilog = "module top #(parameter W = 4) (input [W-1:0] a, output [W-1:0] y);
        `ifdef INVERT
        assign y = ~a;
        `else
        assign y = a;
        `endif
    endmodule";
    let plain = build(Build::new("generic", verilog));
    assert_eq!(plain.port("y").unwrap().width(), 4);
    let design = build(
        Build::new("generic", verilog)
            .parameter("W", 40)
            .define("INVERT", ""),
    );
    let mut model = design.instance();
    model.eval();
    assert_eq!(model.peek(model.port("y").unwrap()), (1 << 40) - 1);
}

#[test]
fn traces_contain_the_signals() {
    let dir = tempfile::tempdir().unwrap();
    let run = |trace, file: &str| {
        let mut model = build(Build::new("counter", COUNTER).trace(trace)).instance();
        model.poke(model.port("step").unwrap(), 5);
        model.run(10);
        model.open_trace(dir.path().join(file)).unwrap();
        model.run(100);
        model.close_trace();
        model.run(10);
        fs::read(dir.path().join(file)).unwrap()
    };
    let vcd = String::from_utf8(run(Trace::Vcd, "a.vcd")).unwrap();
    for signal in ["clock", "count", "negative", "load$0"] {
        assert!(
            vcd.contains(&format!(" {signal} ")),
            "{signal} is not in the VCD"
        );
    }
    // The first cycle in the trace is the eleventh; its value, 55 in binary, is there.
    assert!(
        vcd.contains("b0000000000110111 "),
        "the count is not in the VCD"
    );
    assert_eq!(vcd.lines().filter(|l| l.starts_with('#')).count(), 200);

    match Build::new("counter", COUNTER)
        .trace(Trace::Fst)
        .build(&mut |_| ())
    {
        Err(SimError::FstHeaders) => {
            eprintln!("SKIPPED: no FST trace without the headers of lz4 and zlib")
        }
        Err(error) => panic!("{error}"),
        Ok(_) => {
            let fst = run(Trace::Fst, "a.fst");
            // An FST file begins with block 0, its header, of 329 bytes.
            assert_eq!(fst[..9], [0, 0, 0, 0, 0, 0, 0, 1, 73]);
            assert!(fst.len() > 329);
        }
    }
}

#[test]
fn a_trace_can_be_opened_again_and_errors_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = build(Build::new("counter", COUNTER).trace(Trace::Vcd)).instance();
    for file in ["a.vcd", "b.vcd"] {
        model.open_trace(dir.path().join(file)).unwrap();
        model.run(3);
    }
    drop(model);
    let size = |file| fs::metadata(dir.path().join(file)).unwrap().len();
    assert!(size("a.vcd") > 500 && size("b.vcd") > 500);

    let mut plain = build(Build::new("counter", COUNTER)).instance();
    let path = dir.path().join("c.vcd");
    assert!(matches!(plain.open_trace(&path), Err(SimError::NoTrace)));
    assert!(!path.exists());
    let mut traced = build(Build::new("counter", COUNTER).trace(Trace::Vcd)).instance();
    assert!(matches!(
        traced.open_trace(dir.path().join("none/d.vcd")),
        Err(SimError::Io { .. })
    ));
}

#[test]
fn coverage_finds_the_branch_that_never_ran() {
    let verilog = "module top(input clock, input go, output reg [3:0] n);
    initial n = 0;
    always @(posedge clock) begin
        if (go) begin
            n <= n + 1;
        end else begin
            n <= 0;
        end
    end
endmodule
";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("coverage.dat");
    let design = build(Build::new("covered", verilog).coverage(true));
    let mut model = design.instance();
    model.poke(model.port("go").unwrap(), 1);
    model.run(4);
    model.write_coverage(&file).unwrap();

    let coverage = Coverage::read(&file).unwrap();
    let missed: Vec<_> = coverage
        .missed()
        .filter(|p| p.kind == CoverageKind::Line)
        .collect();
    assert_eq!(missed.len(), 1, "{coverage:?}");
    assert_eq!((missed[0].line, missed[0].comment.as_str()), (4, "else"));
    let toggled = |bit: &str| {
        coverage
            .points
            .iter()
            .filter(|p| p.comment.starts_with(bit))
            .map(|p| p.count)
            .sum::<u64>()
    };
    assert!(toggled("n[0]") > 0 && toggled("n[3]") == 0, "{coverage:?}");
    let (reached, all) = coverage.reached(CoverageKind::Toggle);
    assert!(0 < reached && reached < all);
    assert!(fs::read_to_string(design.source()).unwrap() == verilog);

    let mut plain = build(Build::new("covered", verilog)).instance();
    assert!(matches!(
        plain.write_coverage(&file),
        Err(SimError::NoCoverage)
    ));
    fs::write(&file, "C nonsense").unwrap();
    assert!(matches!(
        Coverage::read(&file),
        Err(SimError::CoverageRecord { line: 1, .. })
    ));
}

#[test]
fn the_second_build_comes_from_the_cache() {
    let verilog = format!("// {:?}\n{COUNTER}", Instant::now());
    let mut steps = Vec::new();
    Build::new("fresh", &verilog)
        .build(&mut |p| steps.push(p))
        .unwrap();
    assert_eq!(steps.first(), Some(&Progress::Verilating));
    assert!(steps
        .iter()
        .any(|p| matches!(p, Progress::Compiling { done, total } if done == total && *total > 0)));
    assert_eq!(steps.last(), Some(&Progress::Linking));

    let start = Instant::now();
    let design = Build::new("fresh", &verilog)
        .build(&mut |p| panic!("{p:?} from the cache"))
        .unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    fs::remove_dir_all(design.source().parent().unwrap()).unwrap();
}

#[test]
fn errors_are_in_the_words_of_the_tool() {
    let refused = Build::new(
        "broken",
        "module top(input a, output b); assign b = ; endmodule",
    )
    .build(&mut |_| ());
    let message = refused.err().unwrap().to_string();
    assert!(
        message.contains("broken.v:1:") && message.contains("syntax error"),
        "{message}"
    );

    let absent = build(Build::new("counter", COUNTER))
        .port("nothing")
        .unwrap_err()
        .to_string();
    assert!(
        absent.contains("`nothing`") && absent.contains("load$0"),
        "{absent}"
    );
}

#[test]
fn lint_lists_warnings_with_their_places() {
    assert_eq!(
        lint("module top(input a, output b);\n    assign b = ~a;\nendmodule\n").unwrap(),
        []
    );
    let warnings =
        lint("module top(input [3:0] a, output [1:0] b);\n    assign b = a;\nendmodule\n").unwrap();
    assert_eq!(
        (warnings[0].code.as_str(), warnings[0].line),
        ("WIDTHTRUNC", 2),
        "{warnings:?}"
    );
    assert!(warnings[0].message.contains("4 bits"));
    assert!(matches!(
        lint("module top("),
        Err(SimError::Verilator { .. })
    ));
}
