//! A loaded design and the models made of it.

use std::ffi::{c_char, c_void, CString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use libloading::Library;

use super::error::SimError;
use super::ports::{self, Declaration, Storage};

/// The functions of `shim.cpp`, bound once a design.
struct Shim {
    new: unsafe extern "C" fn() -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    ports: unsafe extern "C" fn(*mut c_void, *mut *mut c_void),
    eval: unsafe extern "C" fn(*mut c_void),
    run: unsafe extern "C" fn(*mut c_void, u64),
    run_until: unsafe extern "C" fn(*mut c_void, *const c_void, u32, u64, u64) -> u64,
    trace_open: unsafe extern "C" fn(*mut c_void, *const c_char),
    trace_close: unsafe extern "C" fn(*mut c_void),
    coverage: unsafe extern "C" fn(*mut c_void, *const c_char),
}

/// What all models of a design share.
struct Shared {
    ports: Vec<Declaration>,
    source: PathBuf,
    trace: bool,
    coverage: bool,
    shim: Shim,
}

/// A verilated design, compiled and loaded. Cheap to clone; any number of models can be made.
#[derive(Clone)]
pub struct Design(Arc<Shared>);

impl Design {
    /// The input that [`Model::tick`] drives.
    pub const CLOCK: &'static str = "clock";
    /// The shared library's name in the cache.
    pub(super) const LIBRARY: &'static str = "model.so";
    /// The name in the cache of Verilator's header, which lists the ports.
    pub(super) const HEADER: &'static str = "Vtop.h";

    /// Loads what [`Build`](super::Build) left in a folder of the cache.
    pub(super) fn load(
        dir: &Path,
        name: &str,
        trace: bool,
        coverage: bool,
    ) -> Result<Self, SimError> {
        let header = dir.join(Self::HEADER);
        let ports = ports::parse(&fs::read_to_string(&header).map_err(SimError::io(&header))?)?;
        // Safety: the library was compiled from `shim.cpp`, whose functions have these types, and
        // loading it runs nothing but the constructors of Verilator's runtime.
        let shim = unsafe {
            let library = Library::new(dir.join(Self::LIBRARY))?;
            let shim = Shim {
                new: *library.get(b"annulus_new")?,
                free: *library.get(b"annulus_free")?,
                ports: *library.get(b"annulus_ports")?,
                eval: *library.get(b"annulus_eval")?,
                run: *library.get(b"annulus_run")?,
                run_until: *library.get(b"annulus_run_until")?,
                trace_open: *library.get(b"annulus_trace_open")?,
                trace_close: *library.get(b"annulus_trace_close")?,
                coverage: *library.get(b"annulus_coverage")?,
            };
            // C++ thread-locals outlive models, so the library stays loaded to the end.
            std::mem::forget(library);
            shim
        };
        let source = dir.join(format!("{name}.v"));
        Ok(Self(Arc::new(Shared {
            ports,
            source,
            trace,
            coverage,
            shim,
        })))
    }

    /// A new model: registers as their initial values say (zero without one), inputs zero.
    pub fn instance(&self) -> Model {
        let shim = &self.0.shim;
        let mut addresses = vec![ptr::null_mut(); self.0.ports.len()];
        // Safety: the shim writes as many addresses as the header has ports, which is the length.
        let state = unsafe {
            let state = (shim.new)();
            (shim.ports)(state, addresses.as_mut_ptr());
            state
        };
        let slots = self.0.ports.iter().zip(addresses);
        let slots = slots
            .map(|(port, at)| Slot {
                at: at.cast(),
                width: port.width,
                storage: port.storage,
            })
            .collect();
        Model {
            design: self.clone(),
            state,
            slots,
        }
    }

    /// The port of that name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn port(&self, name: &str) -> Result<Port, SimError> {
        let ports = &self.0.ports;
        let found = ports.iter().position(|p| p.name == name);
        found
            .map(|index| self.handle(index))
            .ok_or_else(|| SimError::NoPort {
                name: name.to_owned(),
                ports: ports
                    .iter()
                    .map(|p| p.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Every port with its name.
    pub fn ports(&self) -> impl Iterator<Item = (&str, Port)> {
        self.0
            .ports
            .iter()
            .enumerate()
            .map(|(index, port)| (port.name.as_str(), self.handle(index)))
    }

    /// The Verilog as it was built: what the lines of a coverage file refer to.
    pub fn source(&self) -> &Path {
        &self.0.source
    }

    fn handle(&self, index: usize) -> Port {
        let Declaration { width, input, .. } = self.0.ports[index];
        Port {
            index,
            width,
            input,
        }
    }
}

/// A handle to one port of a [`Design`], valid for every model of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    index: usize,
    width: u32,
    input: bool,
}

impl Port {
    /// The width in bits.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Whether it is an input.
    pub fn is_input(self) -> bool {
        self.input
    }
}

/// Where a port of one model lives.
#[derive(Clone, Copy)]
struct Slot {
    at: *mut u8,
    width: u32,
    storage: Storage,
}

/// One running instance of a design.
///
/// Reading or writing a port is a plain memory access. What an input changes is seen at the
/// outputs after the next [`tick`](Self::tick), or after [`eval`](Self::eval) where there is no
/// register between.
///
/// A [`Port`] belongs to the design that it was asked of; one of another design panics or reads
/// another port.
pub struct Model {
    design: Design,
    state: *mut c_void,
    slots: Vec<Slot>,
}

// Safety: the C++ object is owned by this value, holds nothing of the thread that made it, and is
// reached through `&mut self`, or through `&self` for reads of its ports.
unsafe impl Send for Model {}

impl Model {
    /// The port of that name; see [`Design::port`].
    ///
    /// # Errors
    /// There is none of that name.
    pub fn port(&self, name: &str) -> Result<Port, SimError> {
        self.design.port(name)
    }

    /// Sets an input.
    ///
    /// # Panics
    /// The port is an output, or the value has more bits than the port.
    #[inline]
    pub fn poke(&mut self, port: Port, value: u64) {
        assert!(port.input, "an output cannot be set");
        assert!(
            port.width >= 64 || value >> port.width == 0,
            "{value:#x} has more than {} bits",
            port.width
        );
        let Slot { at, storage, .. } = self.slots[port.index];
        // Safety: `at` is the address of a port with that storage inside the live model.
        unsafe {
            match storage {
                Storage::Bits8 => at.write(value as u8),
                Storage::Bits16 => at.cast::<u16>().write(value as u16),
                Storage::Bits32 => at.cast::<u32>().write(value as u32),
                Storage::Bits64 => at.cast::<u64>().write(value),
                Storage::Words => self.poke_wide(port, &[value as u32, (value >> 32) as u32]),
            }
        }
    }

    /// Sets an input to a signed number, in two's complement.
    ///
    /// # Panics
    /// The port is an output, or the value does not fit.
    #[inline]
    pub fn poke_signed(&mut self, port: Port, value: i64) {
        let unused = 64 - port.width.min(64);
        assert!(
            value << unused >> unused == value,
            "{value} does not fit {} signed bits",
            port.width
        );
        self.poke(port, (value as u64) << unused >> unused);
    }

    /// Sets an input from words of 32 bits, lowest first; words that are not given are zero.
    ///
    /// # Panics
    /// The port is an output, or a bit beyond its width is set.
    pub fn poke_wide(&mut self, port: Port, words: &[u32]) {
        let bits = |word: usize| port.width.saturating_sub(32 * word as u32).min(32);
        let fits = |(i, &word): (usize, &u32)| u64::from(word) >> bits(i) == 0;
        assert!(
            words.iter().enumerate().all(fits),
            "a bit beyond the {} of the port is set",
            port.width
        );
        let Slot { at, storage, .. } = self.slots[port.index];
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        if storage == Storage::Words {
            assert!(port.input, "an output cannot be set");
            for i in 0..port.width.div_ceil(32) as usize {
                // Safety: the port holds one word for every 32 bits begun.
                unsafe { at.cast::<u32>().add(i).write(word(i)) }
            }
        } else {
            self.poke(port, u64::from(word(0)) | u64::from(word(1)) << 32);
        }
    }

    /// A port's value; the lowest 64 bits of a wider one.
    #[inline]
    pub fn peek(&self, port: Port) -> u64 {
        let Slot { at, storage, .. } = self.slots[port.index];
        // Safety: `at` is the address of a port with that storage inside the live model.
        unsafe {
            match storage {
                Storage::Bits8 => at.read().into(),
                Storage::Bits16 => at.cast::<u16>().read().into(),
                Storage::Bits32 => at.cast::<u32>().read().into(),
                Storage::Bits64 => at.cast::<u64>().read(),
                Storage::Words => {
                    let words = at.cast::<u32>();
                    u64::from(words.read()) | u64::from(words.add(1).read()) << 32
                }
            }
        }
    }

    /// A port's value in two's complement.
    ///
    /// # Panics
    /// The port has more than 64 bits.
    #[inline]
    pub fn peek_signed(&self, port: Port) -> i64 {
        assert!(
            port.width <= 64,
            "a port of {} bits does not fit a signed number",
            port.width
        );
        let unused = 64 - port.width;
        (self.peek(port) << unused) as i64 >> unused
    }

    /// A port's value in words of 32 bits, lowest first.
    pub fn peek_wide(&self, port: Port) -> Vec<u32> {
        let Slot { at, width, storage } = self.slots[port.index];
        let count = width.div_ceil(32) as usize;
        if storage == Storage::Words {
            // Safety: the port holds one word for every 32 bits begun.
            (0..count)
                .map(|i| unsafe { at.cast::<u32>().add(i).read() })
                .collect()
        } else {
            let value = self.peek(port);
            (0..count).map(|i| (value >> (32 * i)) as u32).collect()
        }
    }

    /// Lets the inputs reach the outputs through logic without registers, with the clock as it is.
    pub fn eval(&mut self) {
        // Safety: `state` is the live model.
        unsafe { (self.design.0.shim.eval)(self.state) }
    }

    /// One clock cycle: inputs settle while `clock` is low, registers take them as it rises.
    /// A design without `clock` is evaluated once.
    pub fn tick(&mut self) {
        self.run(1);
    }

    /// Clock cycles with the inputs held.
    pub fn run(&mut self, cycles: u64) {
        // Safety: `state` is the live model.
        unsafe { (self.design.0.shim.run)(self.state, cycles) }
    }

    /// Runs until a port has a value and returns the cycles that took, 0 if it has it already;
    /// `None` if `max_cycles` pass without it.
    ///
    /// # Panics
    /// The port has more than 64 bits.
    pub fn run_until(&mut self, port: Port, value: u64, max_cycles: u64) -> Option<u64> {
        let Slot { at, storage, .. } = self.slots[port.index];
        let bytes = match storage {
            Storage::Bits8 => 1,
            Storage::Bits16 => 2,
            Storage::Bits32 => 4,
            Storage::Bits64 => 8,
            Storage::Words => panic!("a port of {} bits cannot be waited for", port.width),
        };
        // Safety: `at` is the address of a port of that many bytes inside the live model.
        let cycles = unsafe {
            (self.design.0.shim.run_until)(self.state, at.cast(), bytes, value, max_cycles)
        };
        (cycles != u64::MAX).then_some(cycles)
    }

    /// Writes every signal from now on to a file, of the kind that [`Build::trace`](super::Build::trace)
    /// chose. A half cycle is one unit of time. A trace that was open is closed first.
    ///
    /// # Errors
    /// The design was built without a trace, or the file cannot be written.
    pub fn open_trace(&mut self, path: impl AsRef<Path>) -> Result<(), SimError> {
        if !self.design.0.trace {
            return Err(SimError::NoTrace);
        }
        let path = writable(path.as_ref())?;
        // Safety: `state` is the live model and the path ends with a zero.
        unsafe { (self.design.0.shim.trace_open)(self.state, path.as_ptr()) };
        Ok(())
    }

    /// Completes the trace, if one is open. Dropping the model does so too.
    pub fn close_trace(&mut self) {
        // Safety: `state` is the live model.
        unsafe { (self.design.0.shim.trace_close)(self.state) }
    }

    /// Writes how often each line ran and each bit toggled so far; [`Coverage`](super::Coverage)
    /// and `verilator_coverage` read the file.
    ///
    /// # Errors
    /// The design was built without coverage, or the file cannot be written.
    pub fn write_coverage(&mut self, path: impl AsRef<Path>) -> Result<(), SimError> {
        if !self.design.0.coverage {
            return Err(SimError::NoCoverage);
        }
        let path = writable(path.as_ref())?;
        // Safety: `state` is the live model and the path ends with a zero.
        unsafe { (self.design.0.shim.coverage)(self.state, path.as_ptr()) };
        Ok(())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // Safety: `state` came from the shim and is freed once.
        unsafe { (self.design.0.shim.free)(self.state) }
    }
}

/// The path for C++, which ends the process where it cannot write: so that is tried here first.
fn writable(path: &Path) -> Result<CString, SimError> {
    File::create(path).map_err(SimError::io(path))?;
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| SimError::io(path)(e.into()))
}
