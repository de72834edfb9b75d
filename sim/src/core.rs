//! A verilated core behind its register bus.

use crate::verilated::{Build, Design, Model, Port, Progress, SimError};
use annulus_contract::shape::CoreShape;
use std::path::Path;

/// The generated Verilog of the core of this shape.
///
/// # Errors
/// No core has this number of rows.
pub fn verilog(shape: &CoreShape) -> Result<String, SimError> {
    annulus_hdl::core_verilog(shape).ok_or(SimError::NoCore {
        lanes: shape.lanes(),
    })
}

/// A compiled core: makes any number of instances.
#[derive(Clone)]
pub struct CoreDesign {
    design: Design,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    write: Port,
    read: Port,
    address: Port,
    data: Port,
    q: Port,
    ready: Port,
    busy: Port,
    chosen: Port,
}

impl CoreDesign {
    /// The core of this shape, compiled on first use and cached by content.
    ///
    /// # Errors
    /// No core has this number of rows, Verilator is missing, or it refused the design.
    pub fn build(shape: &CoreShape, progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        Self::build_with(shape, progress, |build| build)
    }

    /// The Verilog as it was built: what the lines of a coverage file refer to.
    pub fn source(&self) -> &Path {
        self.design.source()
    }

    /// The same with options, such as a trace or coverage.
    ///
    /// # Errors
    /// As for [`CoreDesign::build`].
    pub fn build_with(
        shape: &CoreShape,
        progress: &mut dyn FnMut(Progress),
        options: impl FnOnce(Build) -> Build,
    ) -> Result<Self, SimError> {
        let verilog = verilog(shape)?;
        let name = format!("core{}", shape.lanes());
        Self::of_build(&options(Build::new(&name, &verilog)), progress)
    }

    /// A core whose Verilog is given, such as one with planted faults.
    ///
    /// # Errors
    /// Verilator is missing or refused the design, or it has not a core's ports.
    pub fn of_build(build: &Build, progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        let design = build.build(progress)?;
        let ports = Ports {
            write: design.port("write")?,
            read: design.port("read")?,
            address: design.port("address")?,
            data: design.port("data")?,
            q: design.port("q")?,
            ready: design.port("ready")?,
            busy: design.port("busy")?,
            chosen: design.port("chosen")?,
        };
        Ok(Self { design, ports })
    }

    /// A core just switched on.
    pub fn instance(&self) -> SimCore {
        SimCore {
            model: self.design.instance(),
            ports: self.ports,
        }
    }
}

/// One simulated core.
pub struct SimCore {
    model: Model,
    ports: Ports,
}

impl SimCore {
    /// Writes a register ([`annulus_contract::regs`]).
    pub fn write(&mut self, register: u8, value: u32) {
        self.model.poke(self.ports.address, register.into());
        self.model.poke(self.ports.data, value.into());
        self.model.poke(self.ports.write, 1);
        self.model.tick();
        self.model.poke(self.ports.write, 0);
        self.answer();
    }

    /// Reads a register. Takes the cycles that the bus takes.
    pub fn read(&mut self, register: u8) -> u32 {
        self.model.poke(self.ports.address, register.into());
        self.model.poke(self.ports.read, 1);
        self.model.tick();
        self.model.poke(self.ports.read, 0);
        self.answer();
        self.model.peek(self.ports.q) as u32
    }

    /// Waits for the bus. It always answers; the bound only keeps a broken core from
    /// hanging a test.
    fn answer(&mut self) {
        self.model.run_until(self.ports.ready, 1, 64);
    }

    /// Lets the core run until a chosen token waits, for at most `cycles` cycles.
    /// Returns whether one does.
    pub fn run_until_chosen(&mut self, cycles: u64) -> bool {
        // A token that was just read needs a cycle to leave.
        self.model.tick();
        self.model.run_until(self.ports.chosen, 1, cycles).is_some()
    }

    /// Lets the core run until no token is in it, for at most `cycles` cycles.
    /// Returns whether that came about.
    pub fn run_until_idle(&mut self, cycles: u64) -> bool {
        // A token that was just queued needs a cycle to enter.
        self.model.run(2);
        self.model.run_until(self.ports.busy, 0, cycles).is_some()
    }

    /// One clock cycle and no more.
    pub fn tick(&mut self) {
        self.model.tick();
    }

    /// The model underneath: traces, coverage.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }
}
