//! What an image runs on: one interface to engines in software, to the simulated
//! core, and to whatever carries a core's registers.
//!
//! Every backend gives the same tokens and the same logits, bit for bit, for the
//! same image and key.

mod core;
mod cuda;
mod serial;
mod sim;
mod software;
pub mod twin;

pub use self::core::Core;
pub use self::cuda::Cuda;
pub use self::serial::{on_port, on_uart, Board};
pub use self::sim::{simulated, BusError, SimBus};
pub use self::software::{Engine, Plain, Software};

use crate::cpu::CpuEngine;
use crate::driver::Counters;
use crate::serial::{board, SerialError};
use annulus_contract::crc::Crc32;
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::CoreShape;
use annulus_kernels::device::{CudaError, Device};
use annulus_model::image::{Golden, Image};
use annulus_sim::twin::TwinError;
use annulus_sim::verilated::SimError;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

/// Why a backend cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No backend of that name.
    #[error("there is no backend {0:?}: choose among auto, {names}", names = Kind::names())]
    Unknown(String),
    /// Only a simulated core writes traces.
    #[error("the {0} backend writes no trace: only sim does")]
    NoTrace(Kind),
    /// A trace of a format that the file's name does not tell.
    #[error("{0:?} does not say what kind of trace it is to be: end it in .vcd or .fst")]
    TraceFormat(std::path::PathBuf),
    /// A board cannot be spoken to, or cannot do it.
    #[error(transparent)]
    Serial(SerialError),
    /// The simulated core could not be built.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// There is no GPU, or it stopped.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The twin does not start.
    #[error(transparent)]
    Twin(#[from] TwinError),
    /// Nothing has been loaded yet.
    #[error("no image has been loaded")]
    NotLoaded,
    /// A state that was saved elsewhere.
    #[error("the saved state belongs to another backend or image")]
    Foreign,
    /// The self-test gave other tokens or logits.
    #[error("the self-test failed: {0}")]
    SelfTest(String),
    /// The engine or the core refused; its own words.
    #[error(transparent)]
    Run(Box<dyn Error + Send + Sync>),
}

/// Names of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The fast engine on this processor.
    Cpu,
    /// The core's Verilog, cycle by cycle.
    Sim,
    /// The integer reference, slow and plain: the truth for the others.
    Reference,
    /// The firmware in an emulator, wired to the simulated core.
    Twin,
    /// A board on a serial port.
    Serial,
    /// An NVIDIA GPU.
    Cuda,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Cpu,
        Kind::Sim,
        Kind::Reference,
        Kind::Twin,
        Kind::Serial,
        Kind::Cuda,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Sim => "sim",
            Kind::Reference => "reference",
            Kind::Twin => "twin",
            Kind::Serial => "serial",
            Kind::Cuda => "cuda",
        }
    }

    /// Whether an image must fit a real core's memories to run on it.
    pub fn has_core(self) -> bool {
        matches!(self, Kind::Sim | Kind::Twin | Kind::Serial)
    }

    /// What `auto` stands for, and why: the first of serial, cuda, cpu that is there. A port
    /// that nobody named is a board's only if it says so on the USB; none is written to.
    pub fn auto(port: Option<&str>) -> (Kind, String) {
        if let Some(port) = port {
            return (Kind::Serial, format!("{port} was named"));
        }
        let no_board = match board() {
            Ok(port) => return (Kind::Serial, format!("there is a board on {port}")),
            Err(SerialError::Several(ports)) => format!("there is more than one board ({ports})"),
            Err(_) => "no board is plugged in".into(),
        };
        match Device::open() {
            Ok(device) => (
                Kind::Cuda,
                format!("{no_board}, and there is a GPU, {}", device.name()),
            ),
            Err(CudaError::NoDriver) => (
                Kind::Cpu,
                format!("{no_board}, and there is no NVIDIA driver"),
            ),
            Err(error) => (Kind::Cpu, format!("{no_board}, and {error}")),
        }
    }

    fn names() -> String {
        Kind::ALL.map(Kind::name).join(", ")
    }
}

impl BackendError {
    /// Whether what was asked for is not on this machine, though Annulus knows it.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            BackendError::Cuda(
                CudaError::NoDriver | CudaError::NoDevice(_) | CudaError::TooOld { .. }
            )
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| BackendError::Unknown(name.into()))
    }
}

/// What a backend does with its logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Greedy without.
    pub gumbel: Option<Gumbel>,
    /// Token that ends a run when it is chosen.
    pub stop: Option<u32>,
    /// Token that restarts position and ring when it is chosen. The count of
    /// samples goes on.
    pub restart: Option<u32>,
}

/// A stream as it was saved, for [`Backend::restore`].
pub struct Saved(Box<dyn Any>);

/// Anything that runs an image.
pub trait Backend {
    /// Which one it is.
    fn kind(&self) -> Kind;

    /// The core behind it, where there is one.
    fn shape(&self) -> Option<&CoreShape>;

    /// Take an image: an empty stream, chosen from greedily, that never stops.
    ///
    /// # Errors
    /// If the image does not fit, or the link fails.
    fn load(&mut self, image: &Image) -> Result<(), BackendError>;

    /// What to do with logits from now on.
    ///
    /// # Errors
    /// If the link fails.
    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError>;

    /// Empty the stream: position 0, nothing in the ring, the count of samples at 0.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    fn reset(&mut self) -> Result<(), BackendError>;

    /// Process tokens whose logits nobody wants.
    ///
    /// # Errors
    /// If a token does not exist or the backend fails.
    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError>;

    /// Process one token and choose its successor.
    ///
    /// # Errors
    /// If the token does not exist or the backend fails.
    fn step(&mut self, token: u32) -> Result<u32, BackendError>;

    /// Process `token` and then the backend's own choices: `n` choices in all, each
    /// handed to `on_token` as it comes. Ends early where the stop token is chosen
    /// or `on_token` says so; in the latter case the backend may have run ahead,
    /// and the stream must be reset or restored.
    ///
    /// Returns the number of choices handed out.
    ///
    /// # Errors
    /// If the token does not exist or the backend fails.
    fn run(
        &mut self,
        token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError>;

    /// Logits of the last token that was processed with them.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    fn logits(&mut self) -> Result<Vec<i32>, BackendError>;

    /// What the core has counted since [`Backend::clear_counters`]; `None` where
    /// there is no core.
    ///
    /// # Errors
    /// If the link fails.
    fn counters(&mut self) -> Result<Option<Counters>, BackendError>;

    /// Set the counters to 0.
    ///
    /// # Errors
    /// If the link fails.
    fn clear_counters(&mut self) -> Result<(), BackendError>;

    /// Save the stream: rings, position, count of samples.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    fn save(&mut self) -> Result<Saved, BackendError>;

    /// Go on where a stream was saved.
    ///
    /// # Errors
    /// [`BackendError::Foreign`] if it was saved elsewhere.
    fn restore(&mut self, saved: &Saved) -> Result<(), BackendError>;

    /// Run the image's self-test on an empty stream, and leave one behind that is
    /// chosen from greedily.
    ///
    /// # Errors
    /// [`BackendError::SelfTest`] if tokens or logits differ from the image's.
    fn self_test(&mut self) -> Result<(), BackendError>;
}

/// Open a backend: `core` is the shape of a simulated one, `trace` the file that
/// its waveforms go to, `port` where a board is.
///
/// # Errors
/// If this version does not have it, the simulated core cannot be built, or the board
/// not be spoken to.
pub fn open(
    kind: Kind,
    core: &CoreShape,
    trace: Option<&Path>,
    port: Option<&str>,
) -> Result<Box<dyn Backend>, BackendError> {
    if trace.is_some() && kind != Kind::Sim {
        return Err(BackendError::NoTrace(kind));
    }
    Ok(match kind {
        Kind::Cpu => Box::new(Software::<CpuEngine>::new(kind)),
        Kind::Reference => Box::new(Software::<Plain>::new(kind)),
        Kind::Sim => Box::new(simulated(core, trace)?),
        Kind::Serial => Box::new(on_port(port)?),
        Kind::Cuda => Box::new(Cuda::open()?),
        Kind::Twin => Box::new(twin::connect(twin::start(None)?)?),
    })
}

/// A self-test a token at a time, for backends without one in hardware.
fn test_by_steps(backend: &mut dyn Backend, golden: &Golden) -> Result<(), BackendError> {
    backend.set_choice(Choice::default())?;
    backend.reset()?;
    let (&last, prompt) = golden
        .prompt
        .split_last()
        .ok_or_else(|| BackendError::SelfTest("the image has none".into()))?;
    backend.prefill(prompt)?;
    let mut crc = Crc32::new();
    let mut token = last;
    for (t, &expected) in golden.tokens.iter().enumerate() {
        token = backend.step(token)?;
        crc.update_logits(&backend.logits()?);
        if token != expected {
            return Err(BackendError::SelfTest(format!(
                "token {t} is {token}, but must be {expected}"
            )));
        }
    }
    backend.reset()?;
    if crc.value() != golden.crc {
        let why = format!(
            "the logits' hash is {:08x}, but must be {:08x}",
            crc.value(),
            golden.crc
        );
        return Err(BackendError::SelfTest(why));
    }
    Ok(())
}
