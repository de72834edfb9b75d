//! What lies between the emulated microcontroller and the world: the FPGA, the lights, and the
//! plug of the serial port. One thread, which answers what the emulator says.

use super::channel::{Channel, Event, Reason, Timed, TurnAnswer};
use super::error::TwinError;
use super::fpga::Fpga;
use super::screen::Screen;
use super::terminal::Terminal;
use super::Shared;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lights of a pico-ice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leds {
    /// Green is lit.
    pub green: bool,
    /// Red is lit.
    pub red: bool,
    /// Blue is lit.
    pub blue: bool,
}

/// What a USB device says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its vendor's number.
    pub vendor: u16,
    /// Its number.
    pub product: u16,
    /// Its name.
    pub name: String,
}

/// What somebody does to the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Pushes the reset button.
    Restart,
    /// Pulls the plug and puts it back.
    Power,
}

/// What the board shows, and what it is to do.
#[derive(Default)]
pub(super) struct State {
    pub now: u64,
    pub leds: Leds,
    pub screen: Screen,
    pub configured: bool,
    pub device: Option<Device>,
    /// How often the serial port has come up.
    pub enumerations: u64,
    pub order: Option<Order>,
    pub damage: u32,
    /// Why the board has ended.
    pub ended: Option<TwinError>,
    /// It is meant to.
    pub off: bool,
}

pub(super) struct Board {
    channel: Channel,
    fpga: Fpga,
    flash: Vec<u8>,
    /// Where the serial port is to be.
    link: PathBuf,
    terminal: Option<Terminal>,
    /// Bytes that the world has no room for yet.
    outgoing: Vec<u8>,
    shared: Arc<Shared>,
    pace: Pace,
}

impl Board {
    pub fn new(
        channel: Channel,
        fpga: Fpga,
        flash: Vec<u8>,
        link: PathBuf,
        shared: Arc<Shared>,
    ) -> Self {
        Board {
            channel,
            fpga,
            flash,
            link,
            terminal: None,
            outgoing: Vec::new(),
            shared,
            pace: Pace::new(),
        }
    }

    /// Runs until the emulator is gone.
    pub fn run(mut self) {
        let error = loop {
            let done = match self.channel.next() {
                Ok(Timed { now, event }) => self.handle(event, now),
                Err(error) => Err(TwinError::Emulator(error.to_string())),
            };
            if let Err(error) = done {
                break error;
            }
        };
        let mut state = self.shared.lock();
        if !state.off {
            state.ended = Some(error);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    fn handle(&mut self, event: Event, now: u64) -> Result<(), TwinError> {
        self.fpga.advance(now);
        let answered = match event {
            Event::Start => self.channel.answer_flash(&self.flash),
            Event::Spi(byte) => {
                let answer = self.fpga.exchange(byte, now);
                self.channel.answer(answer)
            }
            Event::Configure(bytes) => {
                self.fpga.configure(&bytes, now);
                self.channel.answer(self.fpga.done().into())
            }
            Event::Dummy(count) => {
                self.fpga.dummy_clocks(count);
                self.channel.answer(self.fpga.done().into())
            }
            Event::Turn { room, bytes } => {
                let answer = self.turn(room, &bytes, now);
                self.channel.answer_turn(&answer)
            }
            Event::Select(level) => {
                self.fpga.select(level);
                Ok(())
            }
            Event::Clock(hertz) => {
                self.fpga.set_clock(hertz);
                Ok(())
            }
            Event::SerialClock(hertz) => {
                self.fpga.set_serial_clock(hertz);
                Ok(())
            }
            Event::ResetPin { level, selected } => {
                self.fpga.reset_pin(level, selected, now);
                Ok(())
            }
            Event::Leds(bits) => {
                let [green, red, blue] = [0, 1, 2].map(|bit| bits >> bit & 1 != 0);
                self.shared.lock().leds = Leds { green, red, blue };
                Ok(())
            }
            Event::Screen(bytes) => {
                self.shared.lock().screen.write(&bytes);
                Ok(())
            }
            Event::UsbUp {
                vendor,
                product,
                name,
            } => {
                self.terminal = Some(Terminal::open(&self.link)?);
                let mut state = self.shared.lock();
                state.enumerations += 1;
                state.device = Some(Device {
                    vendor,
                    product,
                    name,
                });
                self.shared.changed.notify_all();
                Ok(())
            }
            Event::Restart(reason) => {
                self.restart(reason);
                Ok(())
            }
            Event::Fail(why) => return Err(TwinError::Emulator(why)),
        };
        answered.map_err(|error| TwinError::Emulator(error.to_string()))
    }

    fn restart(&mut self, reason: Reason) {
        self.terminal = None;
        self.outgoing.clear();
        let mut state = self.shared.lock();
        if reason == Reason::Power {
            self.fpga.power_off();
            state.screen = Screen::default();
        }
        state.device = None;
        state.leds = Leds::default();
    }

    /// Moves bytes between the device and whoever has the port open.
    fn turn(&mut self, room: usize, bytes: &[u8], now: u64) -> TurnAnswer {
        let mut answer = TurnAnswer::default();
        self.outgoing.extend(bytes);
        let ahead = self.pace.ahead(now);
        match &self.terminal {
            Some(terminal) => {
                // The world's time passes here, and ends early when somebody says something.
                answer.open = terminal.wait(ahead);
                if answer.open {
                    let written = terminal.write(&self.outgoing);
                    self.outgoing.drain(..written);
                    answer.bytes = terminal.read(room);
                }
            }
            None => std::thread::sleep(ahead),
        }
        answer.hold = !answer.open || !self.outgoing.is_empty();
        let mut state = self.shared.lock();
        state.now = now;
        state.configured = self.fpga.done();
        self.fpga.set_damage(state.damage);
        match state.order.take() {
            Some(Order::Restart) => answer.restart = true,
            Some(Order::Power) => answer.power = true,
            None => {}
        }
        answer
    }
}

/// Keeps emulated time from running ahead of the world's. Where it falls behind, it does not
/// hurry afterwards.
struct Pace {
    /// When emulated time was 0, or would have been.
    origin: Instant,
}

impl Pace {
    fn new() -> Self {
        Pace {
            origin: Instant::now(),
        }
    }

    /// How far emulated time is ahead.
    fn ahead(&mut self, now: u64) -> Duration {
        let now = Duration::from_nanos(now);
        let passed = self.origin.elapsed();
        if passed > now {
            self.origin += passed - now;
        }
        now.saturating_sub(passed)
    }
}
