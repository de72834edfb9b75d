//! From Verilog to a loaded [`Design`].

use std::fs;
use std::path::Path;

use super::cache;
use super::compile;
use super::error::SimError;
use super::model::Design;
use super::ports;
use super::progress::Progress;
use super::toolchain::Toolchain;

/// The C interface, the same for every design.
const SHIM: &str = include_str!("shim.cpp");

/// What a build can write while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: the fastest model.
    #[default]
    None,
    /// A VCD file, which every viewer reads.
    Vcd,
    /// An FST file, about fifty times smaller.
    Fst,
}

/// A design to be verilated, and how.
#[derive(Clone, Debug)]
pub struct Build {
    name: String,
    source: String,
    trace: Trace,
    coverage: bool,
    quick: bool,
    options: Vec<String>,
}

impl Build {
    /// A build of the module `top` in `source`. The name appears in messages and names the source
    /// in coverage records.
    pub fn new(name: &str, source: &str) -> Self {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        Self {
            name: name.chars().map(safe).collect(),
            source: source.to_owned(),
            trace: Trace::None,
            coverage: false,
            quick: false,
            options: Vec::new(),
        }
    }

    /// Which kind of trace [`Model::open_trace`](super::Model::open_trace) writes.
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// Whether lines and toggles are counted (several times slower).
    pub fn coverage(mut self, coverage: bool) -> Self {
        self.coverage = coverage;
        self
    }

    /// Whether it matters more to compile soon than to run fast: for a netlist, which is a hundred
    /// times the C++ of what it was made from and runs for seconds.
    pub fn quick(mut self, quick: bool) -> Self {
        self.quick = quick;
        self
    }

    /// A macro for the Verilog's `` `ifdef ``; an empty value only defines it.
    pub fn define(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("-D{name}={value}"));
        self
    }

    /// A value for a parameter of `top`.
    pub fn parameter(mut self, name: &str, value: i64) -> Self {
        self.options.push(format!("-G{name}={value}"));
        self
    }

    /// Loads the design, from the cache or by building it.
    ///
    /// # Errors
    /// A missing tool, Verilog that Verilator refuses, C++ that does not compile, a cache that
    /// cannot be written.
    pub fn build(&self, progress: &mut dyn FnMut(Progress)) -> Result<Design, SimError> {
        let tools = Toolchain::get()?;
        let (verilator, cpp) = (self.verilator_options(), self.cpp_options());
        let options = verilator.iter().chain(&cpp).map(String::as_str);
        let parts = [tools.identity.as_str(), SHIM, &self.name, &self.source]
            .into_iter()
            .chain(options)
            .chain(self.quick.then_some(self.optimization()));
        let dir = cache::fetch(
            &cache::root(),
            &cache::key(parts),
            progress,
            |dir, progress| self.build_in(dir, tools, &verilator, &cpp, progress),
        )?;
        Design::load(&dir, &self.name, self.trace != Trace::None, self.coverage)
    }

    /// The C++ compiler's level, for what runs in every cycle.
    fn optimization(&self) -> &'static str {
        if self.quick {
            "-O1"
        } else {
            "-O3"
        }
    }

    fn verilator_options(&self) -> Vec<String> {
        let fixed =
            "--cc -O3 --x-assign fast --x-initial fast --noassert --no-timing --output-split 4000 \
                     --top-module top --prefix Vtop -Wno-fatal -Wno-lint -Wno-style";
        let trace = match self.trace {
            Trace::None => "",
            Trace::Vcd => "--trace-vcd",
            Trace::Fst => "--trace-fst",
        };
        let coverage = if self.coverage {
            "--coverage-line --coverage-toggle"
        } else {
            ""
        };
        let words = [fixed, trace, coverage]
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(str::to_owned);
        words.chain(self.options.iter().cloned()).collect()
    }

    /// What Verilator's own makefile would define, and flags for speed.
    fn cpp_options(&self) -> Vec<String> {
        let fixed = "-std=gnu++17 -march=native -fPIC -fvisibility=hidden -fcf-protection=none -w \
                     -DVERILATOR=1 -DVM_SC=0 -DVM_TIMING=0 -DVM_TRACE_SAIF=0";
        let chosen = [
            ("VM_TRACE", self.trace != Trace::None),
            ("VM_TRACE_VCD", self.trace == Trace::Vcd),
            ("VM_TRACE_FST", self.trace == Trace::Fst),
            ("VM_COVERAGE", self.coverage),
        ];
        let chosen = chosen.map(|(name, on)| format!("-D{name}={}", u8::from(on)));
        fixed
            .split_whitespace()
            .map(str::to_owned)
            .chain(chosen)
            .collect()
    }

    /// Leaves in `dir` the shared library, Verilator's header with the ports, and the source.
    fn build_in(
        &self,
        dir: &Path,
        tools: &Toolchain,
        verilator: &[String],
        cpp: &[String],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SimError> {
        progress(Progress::Verilating);
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).map_err(SimError::io(dir.join(name)))
        };
        let source = format!("{}.v", self.name);
        write(&source, &self.source)?;
        // The source is named without its folder, and so are the lines in a coverage file.
        let verilated = tools
            .verilator()
            .args(verilator)
            .args(["--Mdir", "obj", &source])
            .current_dir(dir)
            .output();
        let verilated = verilated.map_err(|_| SimError::VerilatorMissing)?;
        if !verilated.status.success() {
            let message = String::from_utf8_lossy(&verilated.stderr).trim().to_owned();
            return Err(SimError::Verilator {
                design: self.name.clone(),
                message,
            });
        }

        let obj = dir.join("obj");
        let header = obj.join("Vtop.h");
        let ports = ports::parse(&fs::read_to_string(&header).map_err(SimError::io(&header))?)?;
        write("obj/shim.cpp", SHIM)?;
        write("obj/ports.h", &ports_header(&ports))?;
        let library = dir.join(Design::LIBRARY);
        compile::library(tools, cpp, self.optimization(), &obj, &library, progress)?;
        fs::rename(&header, dir.join(Design::HEADER)).map_err(SimError::io(&header))?;
        fs::remove_dir_all(&obj).map_err(SimError::io(&obj))
    }
}

/// The macros `PORTS` and `CLOCK` for the shim.
fn ports_header(ports: &[ports::Declaration]) -> String {
    let list: Vec<_> = ports
        .iter()
        .map(|p| format!("PORT({})", p.cpp_name))
        .collect();
    let clock = ports.iter().find(|p| p.name == Design::CLOCK && p.input);
    let clock = clock.map_or(String::new(), |p| format!("#define CLOCK {}\n", p.cpp_name));
    format!("#define PORTS {}\n{clock}", list.join(" "))
}
