//! The `serial` backend: a board that drives its own core, and says what it chooses.

use super::{Backend, BackendError, Choice, Core, Kind, Saved};
use crate::driver::Counters;
use crate::serial::{self, Client, Line, PortLine, SerialError, UartBoard, UartLine, WireBus};
use annulus_contract::shape::CoreShape;
use annulus_contract::wire::{Fault, Object, Place, Request};
use annulus_model::image::Image;
use std::ops::ControlFlow;

/// A board on a line.
///
/// What takes long the board does by itself: taking an image, prompts, runs, the self-test. What
/// is rare goes through its registers, with the driver of every other core.
pub struct Board<L: Line> {
    core: Core<WireBus<L>>,
}

/// The board on this port; without one, the only one that is plugged in.
///
/// # Errors
/// If there is none, it cannot be opened, or no core answers on it.
pub fn on_port(port: Option<&str>) -> Result<Board<PortLine>, BackendError> {
    let port = match port {
        Some(port) => port.to_owned(),
        None => serial::board()?,
    };
    let client = Client::new(serial::open(&port)?, &port)?;
    Board::new(Kind::Serial, client)
}

/// The board of this kind on this port, driven from here over its UART; without a port, the only
/// one that is plugged in.
///
/// # Errors
/// If there is none, it cannot be opened, or no core answers on it.
pub fn on_uart(board: &UartBoard, port: Option<&str>) -> Result<Board<UartLine>, BackendError> {
    Board::new(Kind::Serial, board.client(port)?)
}

impl<L: Line> Board<L> {
    /// The board of a session.
    ///
    /// # Errors
    /// If no core answers on it.
    pub fn new(kind: Kind, client: Client<L>) -> Result<Self, BackendError> {
        let core = Core::new(kind, WireBus::new(client)?)?;
        Ok(Board { core })
    }

    /// The session with the board.
    pub fn client(&mut self) -> &mut Client<L> {
        self.core.driver().bus_mut().client()
    }

    /// A token as the wire carries it.
    fn token(&mut self, token: u32) -> Result<u16, BackendError> {
        self.core.driver().check_tokens(&[token])?;
        Ok(token as u16)
    }
}

impl From<SerialError> for BackendError {
    fn from(error: SerialError) -> Self {
        match error {
            SerialError::Fault {
                fault:
                    Fault::SelfTestToken {
                        index,
                        expected,
                        found,
                    },
                ..
            } => {
                BackendError::SelfTest(format!("token {index} is {found}, but must be {expected}"))
            }
            SerialError::Fault {
                fault: Fault::SelfTestLogits { expected, found },
                ..
            } => BackendError::SelfTest(format!(
                "the logits' hash is {found:08x}, but must be {expected:08x}"
            )),
            other => BackendError::Serial(other),
        }
    }
}

impl<L: Line> Backend for Board<L> {
    fn kind(&self) -> Kind {
        self.core.kind()
    }

    fn shape(&self) -> Option<&CoreShape> {
        self.core.shape()
    }

    fn load(&mut self, image: &Image) -> Result<(), BackendError> {
        image
            .check_core(self.core.driver().shape())
            .map_err(|error| BackendError::Run(Box::new(error)))?;
        let bytes = image.to_bytes();
        self.client()
            .upload(Object::Image, Place::Live, &bytes, |_| ())?;
        self.core.driver().adopt(image);
        Ok(())
    }

    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError> {
        self.core.set_choice(choice)
    }

    fn reset(&mut self) -> Result<(), BackendError> {
        Ok(self.client().order(&Request::Reset)?)
    }

    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        let tokens = tokens.iter().map(|&token| self.token(token));
        let tokens = tokens.collect::<Result<Vec<u16>, _>>()?;
        Ok(self.client().prompt(&tokens)?)
    }

    fn step(&mut self, token: u32) -> Result<u32, BackendError> {
        let mut chosen = None;
        self.run(token, 1, &mut |token| {
            chosen = Some(token);
            ControlFlow::Continue(())
        })?;
        let port = self.client().port().to_owned();
        Ok(chosen.ok_or(SerialError::Unexpected(port))?)
    }

    fn run(
        &mut self,
        token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        let mut token = self.token(token)?;
        let mut done = 0;
        // A run counts in 32 bits.
        while done < n {
            let count = u32::try_from(n - done).unwrap_or(u32::MAX);
            let mut broken = false;
            let ran = self.client().run(token, count, |chosen| {
                token = chosen as u16;
                let flow = on_token(chosen);
                broken = flow.is_break();
                flow
            })?;
            done += ran as usize;
            if broken || ran < count {
                break;
            }
        }
        Ok(done)
    }

    fn logits(&mut self) -> Result<Vec<i32>, BackendError> {
        self.core.logits()
    }

    fn counters(&mut self) -> Result<Option<Counters>, BackendError> {
        self.core.counters()
    }

    fn clear_counters(&mut self) -> Result<(), BackendError> {
        self.core.clear_counters()
    }

    fn save(&mut self) -> Result<Saved, BackendError> {
        self.core.save()
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), BackendError> {
        self.core.restore(saved)
    }

    fn self_test(&mut self) -> Result<(), BackendError> {
        if self.core.driver().image().is_none() {
            return Err(BackendError::NotLoaded);
        }
        Ok(self.client().order(&Request::SelfTest)?)
    }
}
