//! The UART.

use super::*;
use annulus_contract::link::uart::{Stream, Uart, FLAG, LEAST_CLOCK};
use annulus_sim::link::uart::{UartDesign, UartLine, UartMaster};

/// A clock that is no multiple of the line's.
const CLOCK_HZ: u32 = 62_500_000;

fn line(hertz: u32, faster: i64) -> UartLine {
    UartDesign::build(&core_shape(), hertz, &mut |_| ())
        .expect("the core builds")
        .instance(faster)
}

fn master(hertz: u32, faster: i64) -> UartMaster {
    Master::new(Uart::new(line(hertz, faster))).expect("the core answers")
}

#[test]
fn registers_and_memories() {
    let mut core = master(CLOCK_HZ, 0);
    registers_are_read_and_written(&mut core);
    memories_hold_what_is_written(&mut core, 4, 2);
    assert_eq!(core.repeated(), 0);
}

/// At the slowest clock, and with a host whose clock is off by a percent and a half: frames
/// follow each other without a pause, and what the slave falls behind has room.
#[test]
fn the_slowest_clock_and_clocks_that_differ() {
    for (hertz, faster) in [
        (LEAST_CLOCK, 0),
        (LEAST_CLOCK, 15),
        (LEAST_CLOCK, -15),
        (CLOCK_HZ, 20),
        (CLOCK_HZ, -20),
    ] {
        let mut core = master(hertz, faster);
        let words: Vec<u32> = (0..200)
            .map(|i| 0x7e7d_207eu32.wrapping_mul(i + 1))
            .collect();
        let at = mem_address(region::STEPS, 3, 5);
        core.write(regs::MEM_ADDRESS, at).unwrap();
        core.write_block(regs::MEM_DATA, &words).unwrap();
        let mut found = vec![0; words.len()];
        core.write(regs::MEM_ADDRESS, at).unwrap();
        core.read_block(regs::MEM_DATA, &mut found).unwrap();
        assert_eq!(found, words, "{hertz} Hz, {faster} in a thousand");
        assert_eq!(core.repeated(), 0, "{hertz} Hz, {faster} in a thousand");
    }
}

/// An answer that would have to be escaped throughout, as fast as it can be asked for.
#[test]
fn an_answer_of_escapes_fits() {
    let mut core = master(LEAST_CLOCK, 15);
    let words = [0x7e7d_7e7d; 64];
    let at = mem_address(region::STEPS, 0, 0);
    core.write(regs::MEM_ADDRESS, at).unwrap();
    core.write_block(regs::MEM_DATA, &words).unwrap();
    for _ in 0..5 {
        let mut found = [0; 64];
        core.write(regs::MEM_ADDRESS, at).unwrap();
        core.read_block(regs::MEM_DATA, &mut found).unwrap();
        assert_eq!(found, words);
    }
    assert_eq!(core.repeated(), 0);
}

/// Short dips of the line, bytes without a stop bit, and any bytes between frames: as long
/// as the next frame begins with its flag, it is answered.
#[test]
fn noise_between_frames_costs_nothing() {
    let mut core = master(CLOCK_HZ, 0);
    let mut rng = Rng::new(5);
    for i in 0..200 {
        let line = core.wire_mut().stream_mut();
        let bit = line.bit() as i32;
        match i % 4 {
            0 => line.hold(false, rng.within(1, bit * 2 / 5) as u64),
            1 => line.send_byte(rng.bits() as u8, false),
            2 => line.send_byte(FLAG, true),
            _ => {
                let noise: Vec<u8> = (0..rng.within(1, 40)).map(|_| rng.bits() as u8).collect();
                line.send(&noise).unwrap();
            }
        }
        let line = core.wire_mut().stream_mut();
        line.hold(true, 12 * bit as u64);
        let value = rng.bits();
        core.write(regs::KEY0, value).unwrap();
        assert_eq!(core.read(regs::KEY0), Ok(value));
    }
    assert_eq!(core.repeated(), 0);
}

/// A line that spoils each byte, either way, once in `rate`: loses it, doubles it, flips bits in
/// it, breaks its stop bit, or puts another before it.
struct Noisy {
    line: UartLine,
    rng: Rng,
    rate: i32,
}

impl Noisy {
    fn master(rate: i32, seed: u64) -> Master<Uart<Noisy>> {
        let noisy = Noisy {
            line: line(CLOCK_HZ, 0),
            rng: Rng::new(seed),
            rate,
        };
        Master::new(Uart::new(noisy)).expect("the core answers")
    }

    fn spoil(&mut self, byte: u8) -> Vec<u8> {
        if !self.rng.one_in(self.rate) {
            return vec![byte];
        }
        match self.rng.within(0, 4) {
            0 => vec![],
            1 => vec![byte, byte],
            2 => vec![byte ^ 1 << self.rng.within(0, 7)],
            3 => vec![FLAG, byte],
            _ => vec![self.rng.bits() as u8, byte],
        }
    }
}

impl Stream for Noisy {
    type Error = Infallible;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        for &byte in bytes {
            for byte in self.spoil(byte) {
                let stop = !self.rng.one_in(5 * self.rate);
                self.line.send_byte(byte, stop);
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        // Room for each byte twice.
        let mut clean = vec![0; bytes.len() / 2];
        loop {
            let count = self.line.receive(&mut clean)?;
            let spoiled: Vec<u8> = clean[..count]
                .iter()
                .flat_map(|&byte| self.spoil(byte))
                .collect();
            bytes[..spoiled.len()].copy_from_slice(&spoiled);
            if count == 0 || !spoiled.is_empty() {
                return Ok(spoiled.len());
            }
        }
    }
}

#[test]
fn a_bad_line_costs_time_and_nothing_else() {
    let mut core = Noisy::master(300, 20);
    runs_as_the_reference(&mut core, &small_model(20), 20);
    println!("{} frames sent again", core.repeated());
    assert!(core.repeated() > 50, "the line is bad");
}

#[test]
fn memories_hold_over_a_bad_line() {
    let mut core = Noisy::master(300, 30);
    memories_hold_what_is_written(&mut core, 4, 30);
    assert!(core.repeated() > 50, "the line is bad");
}

// ---- the board ---------------------------------------------------------------

/// The top that the bitstream is made of, with models of its clock cells, through the pins of
/// the board.
#[test]
fn the_top_of_the_ulx3s_runs_a_model() {
    let shape = shape::of_board("ulx3s").expect("a board");
    let line = UartDesign::ulx3s(&mut |_| ())
        .expect("the top builds")
        .instance(0);
    let mut core = Master::new(Uart::new(line)).expect("the core answers");
    assert_eq!(CoreShape::read(|register| core.read(register)), Ok(shape));
    runs_as_the_reference_on(&mut core, &shape, &small_model(7), 7);
    assert_eq!(core.repeated(), 0);
}
