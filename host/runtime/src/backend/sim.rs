//! The `sim` backend: the core's Verilog, cycle by cycle, on its register bus.

use super::{BackendError, Core, Kind};
use crate::driver::RegisterBus;
use annulus_contract::shape::CoreShape;
use annulus_sim::core::{CoreDesign, SimCore};
use annulus_sim::progress;
use annulus_sim::verilated::Trace;
use std::path::Path;

/// Cycles that a waiting driver lets pass before it looks again, where no token
/// comes out before.
const PATIENCE: u64 = 512;
/// Cycles without a token in or out after which a core is taken to be stuck: far
/// more than the slowest token takes.
const STUCK: u64 = 100_000_000;

/// Why a simulated core's bus fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The core goes on for ever.
    #[error("the simulated core has taken {0} cycles without a token: it is stuck")]
    Stuck(u64),
}

impl From<BusError> for BackendError {
    fn from(error: BusError) -> Self {
        BackendError::Run(Box::new(error))
    }
}

/// The register bus of a simulated core.
pub struct SimBus {
    core: SimCore,
    /// Cycles waited since a register was written or a token came out.
    waited: u64,
}

impl From<SimCore> for SimBus {
    fn from(core: SimCore) -> Self {
        SimBus { core, waited: 0 }
    }
}

impl RegisterBus for SimBus {
    type Error = BusError;

    fn read(&mut self, register: u8) -> Result<u32, BusError> {
        Ok(self.core.read(register))
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), BusError> {
        self.waited = 0;
        self.core.write(register, value);
        Ok(())
    }

    fn run(&mut self) -> Result<(), BusError> {
        self.waited = if self.core.run_until_chosen(PATIENCE) {
            0
        } else {
            self.waited + PATIENCE
        };
        if self.waited > STUCK {
            return Err(BusError::Stuck(self.waited));
        }
        Ok(())
    }
}

/// A simulated core of this shape, built on first use with its progress on the
/// terminal. `trace` is the file for its waveforms, by its ending VCD or FST.
///
/// # Errors
/// If the core cannot be built, or the trace not written.
pub fn simulated(shape: &CoreShape, trace: Option<&Path>) -> Result<Core<SimBus>, BackendError> {
    let format = trace.map_or(Ok(Trace::None), trace_format)?;
    let name = format!("core of {} lanes", shape.lanes());
    let mut progress = progress::on_terminal(&name);
    let design = CoreDesign::build_with(shape, &mut progress, |build| build.trace(format))?;
    let mut core = design.instance();
    if let Some(path) = trace {
        core.model().open_trace(path)?;
    }
    Core::new(Kind::Sim, core.into())
}

fn trace_format(path: &Path) -> Result<Trace, BackendError> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("vcd") => Ok(Trace::Vcd),
        Some("fst") => Ok(Trace::Fst),
        _ => Err(BackendError::TraceFormat(path.into())),
    }
}
