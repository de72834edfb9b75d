//! The command line: every option, and the help that explains it.

use annulus_runtime::backend::twin;
use annulus_runtime::cores;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::serial::UART_BOARDS;
use annulus_runtime::Width;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

/// Runs small transformers on small FPGAs: write text, prove every bit of it,
/// count every cycle.
#[derive(Parser)]
#[command(name = "annulus", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  annulus generate --model names --temperature 0.8 --seed 1
      Names from the model that ships with annulus, on this processor.
  annulus fetch stories260K
  annulus generate --model stories260K --backend sim --window 128
      A story, written by the core's own Verilog, cycle by cycle.
  annulus verify --model stories260K --backends sim,cpu --temperature 0.8 -n 500
      Proof that both give the same tokens and logits, bit for bit.
  annulus bench --model names --backend sim --lanes 48 --json
      Cycles a token by position and by step, against the ideal.

`annulus COMMAND --help` explains a command. Exit status: 0 success, 1 no success, 2 a command
line that is not understood, 3 a device was asked for that is not on this machine.";

/// What can be done.
#[derive(Subcommand)]
pub enum Command {
    /// Write text: tokens stream as they are chosen
    Generate(GenerateArgs),
    /// Run several backends in lockstep and compare every token and every logit
    Verify(VerifyArgs),
    /// Count cycles a token: mean, by position, by step, against the ideal
    Bench(BenchArgs),
    /// Put every backend side by side: the same tokens, and how long each takes for them
    Compare(CompareArgs),
    /// Measure a model's perplexity in float32 and in integers on a text
    Eval(EvalArgs),
    /// Sweep cores, windows, sinks and weight bits: accuracy, bytes on chip, cycles a token
    Explore(ExploreArgs),
    /// Show a model's sizes and formats, and which cores it fits
    Inspect(InspectArgs),
    /// Quantize and compile a model into an image
    Quantize(QuantizeArgs),
    /// Print the generated Verilog of a core; it belongs to you
    Verilog(VerilogArgs),
    /// Run the self-test that an image holds
    Selftest(SelftestArgs),
    /// Switch on the digital twin of a board, and keep it on until interrupted
    Twin(TwinArgs),
    /// Download a model or a text from its public home, with checksums
    Fetch(FetchArgs),
    /// List boards, and what other serial ports there are
    Devices(DevicesArgs),
    /// Program a board: its firmware, its FPGA, what it does without a host
    Flash(FlashArgs),
}

/// Which model, compiled how.
#[derive(Args)]
pub struct ModelArgs {
    /// A model: `names`, `shakespeare` or `shakespeare-int4` (ship with annulus), `stories260K` (after `annulus fetch`),
    /// or the path of an Annulus image, a llama2.c .bin, a microGPT .json or a folder with
    /// config.json and model.safetensors (Llama or Mistral)
    #[arg(long, value_name = "M")]
    pub model: PathBuf,
    /// Tokenizer of a llama2.c checkpoint [default: the tok*.bin beside it]
    #[arg(long, value_name = "T")]
    pub tokenizer: Option<PathBuf>,
    /// Quantize without Hadamard's rotation [default: only for cores that lack it]
    #[arg(long)]
    pub no_hadamard: bool,
    /// Bits that a value is stored in: 8, or 4 and an exponent for each head of a token.
    /// Simulated cores of 16 lanes and more are built for it
    #[arg(long, value_name = "B", value_parser = width, default_value = "8", hide_default_value = true)]
    pub value_bits: Width,
    /// Which core
    #[command(flatten)]
    pub core: CoreArgs,
    /// Positions that attention looks back on, 1 to 1024 [default: what the model was trained for]
    #[arg(long, value_name = "W")]
    pub window: Option<usize>,
    /// Positions at a stream's start that stay in the window for ever, fewer than W [default: 0]
    #[arg(long, value_name = "S")]
    pub sinks: Option<usize>,
}

/// Which core.
#[derive(Args)]
pub struct CoreArgs {
    /// Multipliers of the core [default: 64, or the image's own]
    #[arg(long, value_name = "N", value_parser = PossibleValuesParser::new(cores::lanes()), conflicts_with = "board")]
    pub lanes: Option<String>,
    /// The core of a board, with that board's memories
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(cores::boards()))]
    pub board: Option<String>,
    /// Bits that a weight of the blocks' matrices is stored in: 8, or 4 and a scale for each 16.
    /// Simulated cores and the boards of 8 lanes have what it takes [default: what the model asks for,
    /// else 8]
    #[arg(long, value_name = "B", value_parser = width)]
    pub weight_bits: Option<Width>,
}

/// Where a board is.
#[derive(Args)]
pub struct PortArgs {
    /// Serial port of a board; it is spoken to whatever it calls itself [default: the board that
    /// is plugged in]
    #[arg(long, value_name = "PATH")]
    pub port: Option<String>,
}

/// Options of `devices`.
#[derive(Args)]
pub struct DevicesArgs {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `flash`.
#[derive(Args)]
#[command(after_help = "\
New firmware is waited for until it answers and says its version. A bitstream is looked into first:
one for another part is refused. Afterwards the board says which core it has found in it. With --store
it stays in the board's flash, and so do an image and how it is to write: a board that has all of it
writes text when it is switched on, without a host.

Examples:
  annulus flash --firmware annulus-pico-ice.uf2          to the boot drive that is mounted
  annulus flash --firmware annulus-pico-ice.uf2 --probe  through a debug probe
  annulus flash --bitstream pico-ice.bin                 into the FPGA, over the board's firmware
  annulus flash --bitstream pico-ice.bin --store --model names --temperature 0.8
  annulus flash --erase                                  it waits for a host again
  annulus flash --bitstream ulx3s.bit --board ulx3s      with openFPGALoader")]
pub struct FlashArgs {
    /// Firmware of the microcontroller: UF2, or the ELF that cargo built
    #[arg(long, value_name = "FILE")]
    pub firmware: Option<PathBuf>,
    /// Where firmware goes: a boot drive, or a .uf2 file [default: the boot drive that is mounted]
    #[arg(long, value_name = "PATH", requires = "firmware")]
    pub to: Option<PathBuf>,
    /// Program firmware through a debug probe: the only one that is plugged in, or the one named
    /// (VENDOR:PRODUCT[:SERIAL])
    #[arg(long, value_name = "PROBE", num_args = 0..=1, default_missing_value = "", requires = "firmware", conflicts_with = "to")]
    pub probe: Option<String>,
    /// Seconds that the board may take to come back with new firmware; 0 does not look for it
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 20,
        requires = "firmware"
    )]
    pub wait: u64,
    /// Microcontroller that an ELF is for
    #[arg(long, value_name = "NAME", default_value = "rp2040", value_parser = ["rp2040", "rp2350"], requires = "firmware")]
    pub mcu: String,
    /// Configuration of the FPGA
    #[arg(long, value_name = "FILE")]
    pub bitstream: Option<PathBuf>,
    /// Model whose image the board is to keep
    #[arg(long, value_name = "M", requires = "store")]
    pub model: Option<PathBuf>,
    /// Positions that attention looks back on
    #[arg(long, value_name = "W", requires = "model")]
    pub window: Option<usize>,
    /// Keep bitstream and image in the board's flash
    #[arg(long)]
    pub store: bool,
    /// How the model writes without a host
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Empty the board's flash of what it keeps
    #[arg(long, conflicts_with_all = ["store", "firmware"])]
    pub erase: bool,
    /// The board [default: the one that answers on the port]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(cores::boards()))]
    pub board: Option<String>,
    /// Where the board is
    #[command(flatten)]
    pub port: PortArgs,
}

/// How tokens are chosen, and from what on.
#[derive(Args)]
pub struct StreamArgs {
    /// Text to begin with; empty begins with the token that starts a stream
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    pub prompt: OsString,
    /// Softmax temperature; 0 always takes the likeliest token
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub temperature: f64,
    /// Seed of the noise: the same seed gives the same text on every backend
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
}

impl StreamArgs {
    /// Sampling without cuts.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            seed: self.seed,
            top_k: None,
            top_p: None,
        }
    }
}

/// Options of `generate`.
#[derive(Args)]
#[command(after_help = "\
Text goes to standard output as it comes; rates and cycles follow on standard error.

Examples:
  annulus generate --model names --backend sim --temperature 0.8 -n 160
  annulus generate --model stories260K --prompt 'Tim had a red ball' -n 200
  annulus generate --model stories260K --temperature 1 --top-p 0.9 --seed 7 --json
  annulus generate --model names --backend sim -n 3 --trace three-tokens.vcd")]
pub struct GenerateArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it writes
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Forward passes, those of the prompt included
    #[arg(short = 'n', value_name = "N", default_value_t = 256)]
    pub passes: usize,
    /// auto (the first of serial, cuda, cpu that is there), cpu, sim, reference, twin, serial, cuda
    #[arg(long, value_name = "B", default_value = "auto")]
    pub backend: String,
    /// Choose among the K likeliest tokens only (the host chooses)
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability (the host chooses)
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Where the board is
    #[command(flatten)]
    pub port: PortArgs,
    /// Write the simulated core's waveforms to a file ending in .vcd or .fst
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `verify`.
#[derive(Args)]
#[command(after_help = "\
Exits with 0 only if every token and every logit is equal at every position. Nothing stops a
run; models that write one text after another begin anew where they say so.

Examples:
  annulus verify --model names --backends sim,cpu --temperature 0.8 -n 5000
  annulus verify --model stories260K --window 37 --sinks 4 --reference -n 2000")]
pub struct VerifyArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it writes
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Forward passes, those of the prompt included
    #[arg(short = 'n', value_name = "N", default_value_t = 256)]
    pub passes: usize,
    /// Backends to compare with the first one
    #[arg(
        long,
        value_name = "B,B",
        value_delimiter = ',',
        default_value = "sim,cpu"
    )]
    pub backends: Vec<String>,
    /// Compare with the integer reference as well
    #[arg(long)]
    pub reference: bool,
    /// Where the board is
    #[command(flatten)]
    pub port: PortArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `bench`.
#[derive(Args)]
#[command(after_help = "\
Cycles come from the core's own counters and do not depend on the machine. A model whose text
goes on is measured once its ring is full; one that begins anew (names) over all its positions.
Ideal is multiply-accumulates over lanes.

Examples:
  annulus bench --model stories260K --backend sim --window 128
  annulus bench --model names --backend sim --lanes 48 --temperature 0.8 --json > base.json
  annulus bench --model names --backend sim --lanes 48 --baseline base.json --max-regression 2%")]
pub struct BenchArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it writes
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Tokens to measure (filling the ring comes before) [default: 128; names: 4 streams]
    #[arg(short = 'n', value_name = "N")]
    pub tokens: Option<usize>,
    /// What to measure: sim, cpu or serial
    #[arg(long, value_name = "B", default_value = "sim")]
    pub backend: String,
    /// Positions to measure, such as 0..16; the stream begins anew at the end
    #[arg(long, value_name = "A..B", value_parser = positions)]
    pub positions: Option<Range<usize>>,
    /// A report of `bench --json` to hold this run to
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// How much worse than the baseline is allowed
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percent, requires = "baseline")]
    pub max_regression: f64,
    /// Where the board is
    #[command(flatten)]
    pub port: PortArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `compare`.
#[derive(Args)]
#[command(after_help = "\
Every row runs the same model, prompt and seed, and must give the cpu backend's tokens: one that
does not is an error. A row that cannot run says why. Docs: docs/comparison.md.

Examples:
  annulus compare --model names --temperature 0.8 --seed 1
  annulus compare --model stories260K --window 128 --lanes 64 --clock 60 --svg rates.svg
  annulus compare --model names --temperature 1 --report report.md")]
pub struct CompareArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// How it writes
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Tokens of a run, those of the prompt not counted
    #[arg(short = 'n', value_name = "N", default_value_t = 256)]
    pub tokens: usize,
    /// Runs, of which the median counts
    #[arg(long, value_name = "R", default_value_t = 5)]
    pub runs: usize,
    /// Rows to run
    #[arg(
        long,
        value_name = "B,B",
        value_delimiter = ',',
        default_value = "sim,twin,serial,cuda,cpu"
    )]
    pub backends: Vec<String>,
    /// Cores to simulate, by lanes or board [default: the one of --lanes or --board]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(cores::lanes().chain(cores::boards())))]
    pub cores: Vec<String>,
    /// Streams of the batched rows [default: 2 for each of the GPU's multiprocessors]
    #[arg(long, value_name = "N")]
    pub streams: Option<usize>,
    /// The clock of all cores in MHz, which turns simulated cycles into seconds [default: that of
    /// the board, where a core is a board's]
    #[arg(long, value_name = "MHZ", value_parser = positive)]
    pub clock: Option<f64>,
    /// What the board uses, in watts, if you have measured it
    #[arg(long, value_name = "W", value_parser = positive)]
    pub board_watts: Option<f64>,
    /// Draw the rates
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write table and figures to a file that can be attached to an issue
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Options of `eval`.
#[derive(Args)]
#[command(after_help = "\
Documents are separated by <|endoftext|> (models of letters: one a line); each starts a stream.

Example:
  annulus eval --model stories260K --text stories.txt --window 128 --tokens 20000
  annulus eval --model shakespeare --text tinyshakespeare --last 10%
  annulus eval --model shakespeare --text tinyshakespeare --last 10% --passes 9")]
pub struct EvalArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to predict: a file, or `tinyshakespeare` (after `annulus fetch`)
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// The last part of the text only, by its bytes
    #[arg(long, value_name = "PERCENT", default_value = "100%", hide_default_value = true, value_parser = percent)]
    pub last: f64,
    /// Tokens to predict at most [default: all]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Read the text K times as one stream that never restarts, and tell the loss of each time
    #[arg(long, value_name = "K", conflicts_with = "tokens", value_parser = clap::value_parser!(u16).range(1..))]
    pub passes: Option<u16>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `explore`.
#[derive(Args)]
#[command(after_help = "\
Every core with every window, every number of sinks and every width of weights. Cycles are of a token with the ring full:
from the cycle model, or counted by the simulated core where it has 8 lanes. Cores without the
Hadamard rotation run the model quantized without it. A star (in the plot a full dot) marks what
no other line beats in lanes, bytes, cycles and loss. A rate is derived: the clock
of the board, where a core is a board's, or the one that you state, over cycles.

Examples:
  annulus explore --model shakespeare --text tinyshakespeare --last 10% --svg space.svg
  annulus explore --model stories260K --text stories.txt --cores 16,64,ulx3s --windows 32,128,512")]
pub struct ExploreArgs {
    /// A model, as for the other commands
    #[arg(long, value_name = "M")]
    pub model: PathBuf,
    /// Tokenizer of a llama2.c checkpoint [default: the tok*.bin beside it]
    #[arg(long, value_name = "T")]
    pub tokenizer: Option<PathBuf>,
    /// The text to predict: a file, or `tinyshakespeare` (after `annulus fetch`)
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// The last part of the text only, by its bytes
    #[arg(long, value_name = "PERCENT", default_value = "100%", hide_default_value = true, value_parser = percent)]
    pub last: f64,
    /// Tokens to predict for each accuracy
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub tokens: usize,
    /// Cores, by lanes or board
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', default_value = "8,16,48,64,128",
        value_parser = PossibleValuesParser::new(cores::lanes().chain(cores::boards())))]
    pub cores: Vec<String>,
    /// Positions that attention looks back on
    #[arg(
        long,
        value_name = "A,B,..",
        value_delimiter = ',',
        default_value = "16,32,64,128"
    )]
    pub windows: Vec<usize>,
    /// Positions at a stream's start that stay in the window for ever
    #[arg(
        long,
        value_name = "A,B,..",
        value_delimiter = ',',
        default_value = "0"
    )]
    pub sinks: Vec<usize>,
    /// Bits that a weight of the blocks' matrices is stored in
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "8,4", value_parser = width)]
    pub weight_bits: Vec<Width>,
    /// Bits that a value is stored in
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "8,4", value_parser = width)]
    pub value_bits: Vec<Width>,
    /// Clock of all cores to derive rates from, in MHz [default: that of the board, where a core
    /// is a board's]
    #[arg(long, value_name = "MHZ", value_parser = positive)]
    pub clock: Option<f64>,
    /// Draw cycles against loss to a file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `inspect`.
#[derive(Args)]
pub struct InspectArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `quantize`.
#[derive(Args)]
#[command(after_help = "\
An image is one file with weights, program, tables, tokenizer and a self-test. It is for one
number of lanes; named with another, or another window, it is compiled anew.

Example:
  annulus quantize --model stories260K.bin --window 256 --board ulx3s --out stories.annulus")]
pub struct QuantizeArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// The image to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `verilog`.
#[derive(Args)]
pub struct VerilogArgs {
    /// Which core
    #[command(flatten)]
    pub core: CoreArgs,
    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// One JSON object with the core's shape and its Verilog
    #[arg(long)]
    pub json: bool,
}

/// Options of `selftest`.
#[derive(Args)]
pub struct SelftestArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to test: sim, cpu, reference or serial
    #[arg(long, value_name = "B", default_value = "sim")]
    pub backend: String,
    /// Where the board is
    #[command(flatten)]
    pub port: PortArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// The boards that have a twin.
fn twin_boards() -> impl Iterator<Item = &'static str> {
    [twin::BOARD]
        .into_iter()
        .chain(UART_BOARDS.iter().map(|board| board.name))
}

/// Options of `twin`.
#[derive(Args)]
#[command(after_help = "\
Prints the path of a serial port with a board on it. pico-ice: the firmware that is flashed, in an
emulated RP2040, wired to the core's own Verilog; its FPGA waits for a bitstream. ulx3s,
tang-nano-20k: the core's own Verilog behind its UART, for --board.

Example:
  annulus twin &
  annulus generate --model names --port /tmp/annulus-twin-XXXXXX/ttyACM0")]
pub struct TwinArgs {
    /// The microcontroller's firmware, an ELF file [default: what `./x firmware` has built]
    #[arg(long, value_name = "FILE", conflicts_with = "board")]
    pub firmware: Option<PathBuf>,
    /// Which board
    #[arg(long, value_name = "NAME", default_value = twin::BOARD, value_parser = PossibleValuesParser::new(twin_boards()))]
    pub board: String,
}

/// Options of `fetch`.
#[derive(Args)]
#[command(after_help = "\
Files are kept in $ANNULUS_CACHE/models, else in annulus/models in the user's cache folder. A
download that broke goes on where it stopped. ANNULUS_HUB names another server with the same
paths.")]
pub struct FetchArgs {
    /// stories260K (a model) or tinyshakespeare (a text)
    pub name: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `8` or `4`.
fn width(text: &str) -> Result<Width, String> {
    match text {
        "8" => Ok(Width::Eight),
        "4" => Ok(Width::Four),
        _ => Err("give 8 or 4".into()),
    }
}

/// `A..B`.
fn positions(text: &str) -> Result<Range<usize>, String> {
    let parsed = text
        .split_once("..")
        .and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    match parsed {
        Some(range) if !range.is_empty() => Ok(range),
        _ => Err("give a first position and the one after the last, such as 0..16".into()),
    }
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("give a number above 0".into()),
    }
}

/// `2%`, or `2`.
fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("give a percentage from 0 up, such as 2%".into()),
    }
}
