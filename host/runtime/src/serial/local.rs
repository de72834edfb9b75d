//! A board without a microcontroller: the firmware's dispatcher runs here, and drives the core over
//! a wire of this machine's. To a [`Client`](super::Client) it is a board like any other.

use super::Line;
use annulus_contract::link::Wire;
use annulus_contract::wire::{Digest, Fault, Object, Reboot};
use annulus_firmware_core::{Board, Dispatcher, Lights, Port};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Why a wire broke, for whoever looks: the dispatcher itself only knows that it did.
#[derive(Clone, Debug, Default)]
pub struct Breakage(Rc<RefCell<Option<io::Error>>>);

impl Breakage {
    /// Notes why.
    pub fn set(&self, why: io::Error) {
        self.0.replace(Some(why));
    }

    fn take(&self) -> Option<io::Error> {
        self.0.take()
    }
}

/// A dispatcher in this process, as a stream of bytes to it.
pub struct LocalLine<W: Wire> {
    dispatcher: Dispatcher<Bare, W>,
    queues: Queues,
    broken: Breakage,
}

#[derive(Default)]
struct Queues {
    to_board: VecDeque<u8>,
    to_host: VecDeque<u8>,
}

impl<W: Wire> LocalLine<W> {
    /// For the board of this name with this FPGA, whose core is behind `wire`, which says in
    /// `broken` why it broke.
    pub fn new(name: &'static str, part: &'static str, wire: W, broken: Breakage) -> Self {
        let board = Bare {
            name,
            part,
            start: Instant::now(),
        };
        LocalLine {
            dispatcher: Dispatcher::new(board, wire),
            queues: Queues::default(),
            broken,
        }
    }
}

impl<W: Wire> Line for LocalLine<W> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queues.to_board.extend(bytes);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize> {
        let start = Instant::now();
        while self.queues.to_host.is_empty() && start.elapsed() < patience {
            self.dispatcher.poll(&mut self.queues);
            if let Some(why) = self.broken.take() {
                return Err(why);
            }
        }
        let count = bytes.len().min(self.queues.to_host.len());
        for (place, byte) in bytes.iter_mut().zip(self.queues.to_host.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Port for Queues {
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.to_board.len());
        for (place, byte) in bytes.iter_mut().zip(self.to_board.drain(..count)) {
            *place = byte;
        }
        count
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.to_host.extend(bytes);
        bytes.len()
    }
}

/// A board of which only the core matters.
struct Bare {
    name: &'static str,
    part: &'static str,
    start: Instant,
}

impl Board for Bare {
    fn name(&self) -> &str {
        self.name
    }

    fn part(&self) -> &str {
        self.part
    }

    fn micros(&mut self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn feed(&mut self) {}

    fn show(&mut self, _: Lights) {}

    fn died(&self) -> Option<&str> {
        None
    }

    fn begin_configuration(&mut self) -> Result<(), Fault> {
        Err(Fault::NoConfiguration)
    }

    fn configure(&mut self, _: &[u8]) -> Result<(), Fault> {
        Err(Fault::NoConfiguration)
    }

    fn end_configuration(&mut self) -> Result<(), Fault> {
        Err(Fault::NoConfiguration)
    }

    fn stored(&self, _: Object) -> Option<(Digest, &[u8])> {
        None
    }

    fn begin_storing(&mut self, object: Object, _: Digest) -> Result<(), Fault> {
        Err(Fault::NoStorage(object))
    }

    fn store(&mut self, _: &[u8]) -> Result<(), Fault> {
        Err(Fault::Storage)
    }

    fn end_storing(&mut self) -> Result<(), Fault> {
        Err(Fault::Storage)
    }

    fn forget(&mut self, object: Object) -> Result<(), Fault> {
        Err(Fault::NoStorage(object))
    }

    fn write(&mut self, _: &[u8], _: u32) {}

    fn reboot(&mut self, _: Reboot) {}
}
