//! A board and its host on one bench, in one thread: the host's line runs the board for as long
//! as the host waits, so that every test goes the same way each time.

use crate::noise::Noise;
use annulus_contract::link::Wire;
use annulus_firmware_core::{Board, Dispatcher, Port};
use annulus_runtime::serial::Line;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Turns of the board's loop in a millisecond that the host waits.
const TURNS: u32 = 20;
/// Bytes that a line holds in each direction.
const ROOM: usize = 4096;

/// A board on the bench.
pub struct Bench<B, W> {
    /// The firmware.
    pub dispatcher: Dispatcher<B, W>,
    /// Bytes on their way to the board.
    pub to_board: VecDeque<u8>,
    /// Bytes on their way to the host.
    pub to_host: VecDeque<u8>,
    /// Bytes that the line takes from the board before it says that it is full.
    pub room: usize,
    noise: Noise,
    /// The cable is out after so many more bytes.
    pub unplugs_after: Option<usize>,
}

/// The board's end of the line.
struct BoardEnd<'a> {
    input: &'a mut VecDeque<u8>,
    output: &'a mut VecDeque<u8>,
    room: usize,
    noise: &'a mut Noise,
}

impl Port for BoardEnd<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.input.len());
        for (place, byte) in bytes.iter_mut().zip(self.input.drain(..count)) {
            *place = byte;
        }
        count
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let room = self.room.saturating_sub(self.output.len());
        let taken = &bytes[..bytes.len().min(room)];
        self.output.extend(self.noise.pass(taken));
        taken.len()
    }
}

impl<B: Board, W: Wire> Bench<B, W> {
    /// A board that has just been plugged in with a good cable.
    pub fn new(board: B, wire: W) -> Self {
        Bench {
            dispatcher: Dispatcher::new(board, wire),
            to_board: VecDeque::new(),
            to_host: VecDeque::new(),
            room: ROOM,
            noise: Noise::new(0, 0),
            unplugs_after: None,
        }
    }

    /// The same with a bad cable: see [`Noise`].
    pub fn noisy(mut self, rate: i32, seed: u64) -> Self {
        self.noise = Noise::new(rate, seed);
        self
    }

    /// Bytes that were damaged so far.
    pub fn damaged(&self) -> u64 {
        self.noise.hits
    }

    /// Another cable.
    pub fn set_noise(&mut self, rate: i32, seed: u64) {
        self.noise = Noise::new(rate, seed);
    }

    /// One turn of the board's loop.
    pub fn turn(&mut self) {
        self.dispatcher.poll(&mut BoardEnd {
            input: &mut self.to_board,
            output: &mut self.to_host,
            room: self.room,
            noise: &mut self.noise,
        });
    }

    /// A cable to it.
    pub fn shared(self) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(self))
    }

    fn unplugged(&mut self, bytes: usize) -> io::Result<()> {
        let Some(left) = &mut self.unplugs_after else {
            return Ok(());
        };
        if *left < bytes {
            *left = 0;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        *left -= bytes;
        Ok(())
    }
}

/// The host's end of the line.
pub struct Cable<B, W>(pub Rc<RefCell<Bench<B, W>>>);

impl<B, W> Clone for Cable<B, W> {
    fn clone(&self) -> Self {
        Cable(self.0.clone())
    }
}

impl<B: Board, W: Wire> Line for Cable<B, W> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bench = self.0.borrow_mut();
        bench.unplugged(bytes.len())?;
        let arrived = bench.noise.pass(bytes);
        bench.to_board.extend(arrived);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize> {
        let mut bench = self.0.borrow_mut();
        for _ in 0..TURNS * patience.as_millis().max(1) as u32 {
            if !bench.to_host.is_empty() {
                break;
            }
            bench.turn();
        }
        let count = bytes.len().min(bench.to_host.len());
        bench.unplugged(count)?;
        for (place, byte) in bytes.iter_mut().zip(bench.to_host.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}
