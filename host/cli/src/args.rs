//! The command line: every option, and the help that explains it.

use annulus_runtime::cores;
use annulus_runtime::sampling::Sampling;
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

`annulus COMMAND --help` explains a command.";

/// What can be done.
#[derive(Subcommand)]
pub enum Command {
    /// Write text: tokens stream as they are chosen
    Generate(GenerateArgs),
    /// Run several backends in lockstep and compare every token and every logit
    Verify(VerifyArgs),
    /// Count cycles a token: mean, by position, by step, against the ideal
    Bench(BenchArgs),
    /// Measure a model's perplexity in float32 and in integers on a text
    Eval(EvalArgs),
    /// Show a model's sizes and formats, and which cores it fits
    Inspect(InspectArgs),
    /// Quantize and compile a model into an image
    Quantize(QuantizeArgs),
    /// Print the generated Verilog of a core; it belongs to you
    Verilog(VerilogArgs),
    /// Run the self-test that an image holds
    Selftest(SelftestArgs),
    /// Switch on the digital twin of a pico-ice, and keep it on until interrupted
    Twin(TwinArgs),
    /// Download a model from the public hub, with checksums
    Fetch(FetchArgs),
    /// List boards, and what other serial ports there are
    Devices(DevicesArgs),
    /// Program a board: its firmware, its FPGA, what it does without a host
    Flash(FlashArgs),
}

/// Which model, compiled how.
#[derive(Args)]
pub struct ModelArgs {
    /// A model: `names` (ships with annulus), `stories260K` (after `annulus fetch`), or the path
    /// of an Annulus image, a llama2.c .bin or a microGPT .json
    #[arg(long, value_name = "M")]
    pub model: PathBuf,
    /// Tokenizer of a llama2.c checkpoint [default: the tok*.bin beside it]
    #[arg(long, value_name = "T")]
    pub tokenizer: Option<PathBuf>,
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
A bitstream is looked into first: one for another part is refused. Afterwards the board says which
core it has found in it. With --store it stays in the board's flash, and so does an image: a board
that has both writes text without a host.

Examples:
  annulus flash --firmware annulus-pico-ice.uf2          to the boot drive that is mounted
  annulus flash --bitstream pico-ice.bin                 into the FPGA, over the board's firmware
  annulus flash --bitstream pico-ice.bin --store --model names
  annulus flash --bitstream ulx3s.bit --board ulx3s      with openFPGALoader")]
pub struct FlashArgs {
    /// Firmware of the microcontroller: UF2, or the ELF that cargo built
    #[arg(long, value_name = "FILE")]
    pub firmware: Option<PathBuf>,
    /// Where firmware goes: a boot drive, or a .uf2 file [default: the boot drive that is mounted]
    #[arg(long, value_name = "PATH", requires = "firmware")]
    pub to: Option<PathBuf>,
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

/// Options of `eval`.
#[derive(Args)]
#[command(after_help = "\
Documents are separated by <|endoftext|> (models of letters: one a line); each starts a stream.

Example:
  annulus eval --model stories260K --text stories.txt --window 128 --tokens 20000")]
pub struct EvalArgs {
    /// Which model
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to predict
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Tokens to predict at most [default: all]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
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

/// Options of `twin`.
#[derive(Args)]
#[command(after_help = "\
Prints the path of a serial port with a board on it: the firmware that is flashed, in an emulated
RP2040, wired to the core's own Verilog. Its FPGA waits for a bitstream.

Example:
  annulus twin &
  annulus generate --model names --port /tmp/annulus-twin-XXXXXX/ttyACM0")]
pub struct TwinArgs {
    /// The microcontroller's firmware, an ELF file [default: what `./x firmware` has built]
    #[arg(long, value_name = "FILE")]
    pub firmware: Option<PathBuf>,
}

/// Options of `fetch`.
#[derive(Args)]
#[command(after_help = "\
Models are kept in $ANNULUS_CACHE/models, else in annulus/models in the user's cache folder. A
download that broke goes on where it stopped. ANNULUS_HUB names another server with the same
paths.")]
pub struct FetchArgs {
    /// The model: stories260K
    pub name: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
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

/// `2%`, or `2`.
fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("give a percentage from 0 up, such as 2%".into()),
    }
}
