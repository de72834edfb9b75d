//! The wire to the emulated microcontroller: what happens at its pins, and the answers.
//! `sim/twin/channel.mjs` is the other end and says what each event is.

use std::io::{self, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout};

/// Something that happened, at a time in nanoseconds.
pub(super) struct Timed {
    pub now: u64,
    pub event: Event,
}

/// What happened. Those marked with (=) wait for an answer.
pub(super) enum Event {
    /// (=) The emulator asks for what flash holds.
    Start,
    /// (=) A byte leaves the SPI port.
    Spi(u8),
    /// Chip select of the SPI port has this level.
    Select(bool),
    /// The FPGA's clock has this frequency.
    Clock(f64),
    /// SCK will have this frequency.
    SerialClock(f64),
    /// The FPGA's reset pin has this level, and its configuration port is selected or not.
    ResetPin { level: bool, selected: bool },
    /// (=) Bytes at the configuration port.
    Configure(Vec<u8>),
    /// (=) Clocks at the configuration port, not selected.
    Dummy(u8),
    /// The lights, a bit each.
    Leds(u8),
    /// The device has been enumerated; what it says about itself.
    UsbUp {
        vendor: u16,
        product: u16,
        name: String,
    },
    /// The microcontroller starts anew.
    Restart(Reason),
    /// (=) A slice of time is over.
    Turn {
        /// How many bytes it can take.
        room: usize,
        /// Bytes for the host.
        bytes: Vec<u8>,
    },
    /// The emulation cannot go on.
    Fail(String),
    /// Bytes were written to the display.
    Screen(Vec<u8>),
}

/// Why a microcontroller starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The board was plugged in.
    Power,
    /// The watchdog bit, or the firmware asked it to.
    Watchdog,
    /// Somebody pushed the button.
    Button,
    /// It is to be a drive.
    BootLoader,
}

/// The answer to a turn.
#[derive(Default)]
pub(super) struct TurnAnswer {
    /// The reset button is pushed.
    pub restart: bool,
    /// The plug is pulled and put back.
    pub power: bool,
    /// A program has the port open.
    pub open: bool,
    /// It takes no more bytes for now.
    pub hold: bool,
    /// Bytes for the device.
    pub bytes: Vec<u8>,
}

const HEADER: usize = 12;

pub(super) struct Channel {
    input: BufReader<ChildStdout>,
    output: ChildStdin,
}

impl Channel {
    pub fn new(input: ChildStdout, output: ChildStdin) -> Self {
        Channel {
            input: BufReader::new(input),
            output,
        }
    }

    /// Waits for what happens next.
    pub fn next(&mut self) -> io::Result<Timed> {
        let mut header = [0; HEADER];
        self.input.read_exact(&mut header)?;
        let [kind, value, low, high, time @ ..] = header;
        let mut payload = vec![0; u16::from_le_bytes([low, high]).into()];
        self.input.read_exact(&mut payload)?;
        Ok(Timed {
            now: f64::from_le_bytes(time) as u64,
            event: event(kind, value, payload)
                .ok_or_else(|| io::Error::other("the emulator says something unknown"))?,
        })
    }

    /// Answers with a byte.
    pub fn answer(&mut self, byte: u8) -> io::Result<()> {
        self.output.write_all(&[byte])
    }

    /// Answers [`Event::Start`].
    pub fn answer_flash(&mut self, flash: &[u8]) -> io::Result<()> {
        self.answer_bytes(None, flash)
    }

    /// Answers [`Event::Turn`].
    pub fn answer_turn(&mut self, answer: &TurnAnswer) -> io::Result<()> {
        let bits = [answer.restart, answer.power, answer.open, answer.hold];
        let flags = bits
            .into_iter()
            .enumerate()
            .fold(0, |flags, (i, bit)| flags | u8::from(bit) << i);
        self.answer_bytes(Some(flags), &answer.bytes)
    }

    fn answer_bytes(&mut self, flags: Option<u8>, bytes: &[u8]) -> io::Result<()> {
        let mut message: Vec<u8> = flags.into_iter().collect();
        message.extend((bytes.len() as u32).to_le_bytes());
        message.extend(bytes);
        self.output.write_all(&message)
    }
}

fn event(kind: u8, value: u8, payload: Vec<u8>) -> Option<Event> {
    let float = || Some(f64::from_le_bytes(payload.get(..8)?.try_into().ok()?));
    let word = |at: usize| {
        Some(u16::from_le_bytes([
            *payload.get(at)?,
            *payload.get(at + 1)?,
        ]))
    };
    Some(match kind {
        0 => Event::Start,
        1 => Event::Spi(value),
        2 => Event::Select(value != 0),
        3 => Event::Clock(float()?),
        4 => Event::SerialClock(float()?),
        5 => Event::ResetPin {
            level: value & 1 != 0,
            selected: value & 2 != 0,
        },
        6 => Event::Configure(payload),
        7 => Event::Dummy(value),
        8 => Event::Leds(value),
        9 => Event::UsbUp {
            vendor: word(0)?,
            product: word(2)?,
            name: String::from_utf8_lossy(payload.get(4..)?).into_owned(),
        },
        10 => Event::Restart(match value {
            0 => Reason::Power,
            1 => Reason::Watchdog,
            2 => Reason::Button,
            _ => Reason::BootLoader,
        }),
        11 => Event::Turn {
            room: word(0)?.into(),
            bytes: payload.get(2..)?.to_vec(),
        },
        12 => Event::Fail(String::from_utf8_lossy(&payload).into_owned()),
        13 => Event::Screen(payload),
        _ => return None,
    })
}
