//! The FPGA of the twin: its configuration port, and the core that any sound bitstream is taken to
//! hold, behind the SPI wires and on the clock that the microcontroller gives it.

use super::configuration::ConfigurationPort;
use crate::link::{SpiDesign, SpiWire, Timing, CLOCK};

/// From the FPGA's register to the microcontroller's and back, in nanoseconds: pads and wires.
const WIRES: f64 = 12.0;

pub(super) struct Fpga {
    design: SpiDesign,
    port: ConfigurationPort,
    /// What a bitstream made of it.
    core: Option<SpiWire>,
    /// Of the clock pin, in Hz; 0 while it stands still.
    clock: f64,
    /// Of SCK, in Hz.
    serial_clock: f64,
    /// Up to when the core has run, in nanoseconds.
    now: u64,
    /// Part of a cycle that it has not.
    fraction: f64,
    selected: bool,
    damage: Damage,
}

impl Fpga {
    pub fn new(design: SpiDesign) -> Self {
        Fpga {
            design,
            port: ConfigurationPort::default(),
            core: None,
            clock: 0.0,
            serial_clock: 0.0,
            now: 0,
            fraction: 0.0,
            selected: false,
            damage: Damage::default(),
        }
    }

    /// Without power for a moment.
    pub fn power_off(&mut self) {
        self.port = ConfigurationPort::default();
        self.core = None;
        self.selected = false;
    }

    /// Lets the core run up to this time.
    pub fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now) as f64 * 1e-9;
        self.now = self.now.max(now);
        let cycles = passed * self.clock + self.fraction;
        self.fraction = cycles.fract();
        match &mut self.core {
            Some(core) if self.selected => core.pass(cycles as u64 * CLOCK),
            Some(core) => core.run(cycles as u64),
            None => {}
        }
    }

    pub fn set_clock(&mut self, hertz: f64) {
        self.clock = hertz;
        self.retime();
    }

    pub fn set_serial_clock(&mut self, hertz: f64) {
        self.serial_clock = hertz;
        self.retime();
    }

    pub fn set_damage(&mut self, per_million: u32) {
        self.damage.per_million = per_million;
    }

    fn retime(&mut self) {
        if let (Some(core), Some(timing)) = (&mut self.core, timing(self.clock, self.serial_clock))
        {
            core.set_timing(timing);
        }
    }

    /// Chip select of the core's link has this level.
    pub fn select(&mut self, level: bool) {
        self.selected = !level;
        if self.clock == 0.0 {
            return;
        }
        match &mut self.core {
            Some(core) if level => core.deselect(),
            Some(core) => core.select(),
            None => {}
        }
    }

    /// A byte over the core's link. Nobody answers from a part that is not configured.
    pub fn exchange(&mut self, out: u8, now: u64) -> u8 {
        let out = self.damage.byte(out);
        let answer = match &mut self.core {
            Some(core) if self.selected && self.clock > 0.0 => core.byte(out),
            _ => 0,
        };
        // The byte's own time has been spent in the core.
        if self.serial_clock > 0.0 {
            self.now = now + (8e9 / self.serial_clock) as u64;
        }
        self.damage.byte(answer)
    }

    /// The reset pin has this level, with the configuration port selected or not.
    pub fn reset_pin(&mut self, level: bool, selected: bool, now: u64) {
        self.port.reset_pin(level, selected, now);
        if !level {
            self.core = None;
        }
    }

    pub fn configure(&mut self, bytes: &[u8], now: u64) {
        self.port.bytes(bytes, now);
        self.wake();
    }

    pub fn dummy_clocks(&mut self, count: u8) {
        self.port.clocks(count.into());
        self.wake();
    }

    /// The level of CDONE.
    pub fn done(&self) -> bool {
        self.port.done()
    }

    fn wake(&mut self) {
        if self.core.is_none() && self.port.awake() {
            self.core = Some(self.design.instance(Timing::FASTEST));
            self.retime();
        }
    }
}

/// How SCK lies in the core's time. Where it is too fast for the core, the core errs as the real
/// one would.
fn timing(clock: f64, serial_clock: f64) -> Option<Timing> {
    if clock <= 0.0 || serial_clock <= 0.0 {
        return None;
    }
    let half = (clock / serial_clock * CLOCK as f64 / 2.0).round() as u64;
    Some(Timing {
        low: half.max(1),
        high: half.max(1),
        phase: 0,
        delay: (WIRES * 1e-9 * clock * CLOCK as f64) as u64,
    })
}

/// Flips bits at random, the same ones every time.
struct Damage {
    per_million: u32,
    random: u64,
}

impl Default for Damage {
    fn default() -> Self {
        Damage {
            per_million: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl Damage {
    fn byte(&mut self, byte: u8) -> u8 {
        if self.per_million == 0 {
            return byte;
        }
        (0..8).fold(byte, |byte, bit| byte ^ u8::from(self.strikes()) << bit)
    }

    fn strikes(&mut self) -> bool {
        // xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) * 1_000_000) >> 32 < u64::from(self.per_million)
    }
}
