//! Frames over a UART: what is stuffed comes back, and a line that loses, doubles, changes and
//! makes up bytes costs frames and nothing else.

mod slave;

use annulus_contract::link::uart::{
    encode, encode_from_host, Decoder, Stream, Symbol, Uart, CREDIT, FLAG,
};
use annulus_contract::link::{Header, LinkError, Master, HEADER_BYTES};
use annulus_contract::regs::{self, mem_address, region};
use proptest::prelude::*;
use slave::{Slave, COUNTER};
use std::collections::VecDeque;
use std::convert::Infallible;

proptest! {
    #[test]
    fn what_is_stuffed_comes_back(bytes in prop::collection::vec((any::<u8>(), any::<bool>()), 0..100)) {
        let mut decoder = Decoder::default();
        for (byte, from_host) in bytes {
            let line: Vec<u8> = if from_host { encode_from_host(byte).collect() } else { encode(byte).collect() };
            prop_assert!(!line.contains(&FLAG));
            let found: Vec<_> = line.into_iter().filter_map(|b| decoder.push(b)).collect();
            prop_assert_eq!(found, [Symbol::Byte(byte)]);
        }
    }

    #[test]
    fn after_a_flag_all_is_well(noise: Vec<u8>, byte: u8) {
        let mut decoder = Decoder::default();
        for byte in noise {
            decoder.push(byte);
        }
        prop_assert_eq!(decoder.push(FLAG), Some(Symbol::Flag));
        let last = encode(byte).filter_map(|b| decoder.push(b)).last();
        prop_assert_eq!(last, Some(Symbol::Byte(byte)));
    }
}

/// What a line does to a byte.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Lost,
    Doubled,
    Changed(u8),
    MadeUp(u8),
}

impl Fault {
    fn apply(self, byte: u8) -> Vec<u8> {
        match self {
            Fault::None => vec![byte],
            Fault::Lost => vec![],
            Fault::Doubled => vec![byte, byte],
            Fault::Changed(flipped) => vec![byte ^ flipped],
            Fault::MadeUp(other) => vec![other, byte],
        }
    }
}

/// A slave behind a bad line, both ways. What it answers to a frame may come late: once the next
/// is sent.
struct Line {
    slave: Slave<fn() -> (bool, bool)>,
    decoder: Decoder,
    /// Of a frame, behind a flag: its number, its bytes.
    begun: bool,
    frame: Option<Vec<u8>>,
    answer: Vec<u8>,
    back: VecDeque<u8>,
    /// For each byte, either way.
    faults: Box<dyn Iterator<Item = Fault>>,
    late: bool,
    /// Bytes of frames that were sent and not received, and the most of them.
    under_way: usize,
    most: usize,
}

impl Line {
    fn new(faults: impl Iterator<Item = Fault> + 'static) -> Self {
        Line {
            slave: Slave::new(3, || (false, false)),
            decoder: Decoder::default(),
            begun: false,
            frame: None,
            answer: vec![],
            back: VecDeque::new(),
            faults: Box::new(faults),
            late: false,
            under_way: 0,
            most: 0,
        }
    }

    fn put(&mut self, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            let fault = self.faults.next().unwrap_or(Fault::None);
            self.back.extend(fault.apply(byte));
        }
    }

    /// The slave hears a byte, and says what MISO shows meanwhile.
    fn hear(&mut self, byte: u8) {
        match self.decoder.push(byte) {
            None => {}
            Some(Symbol::Flag) => {
                (self.begun, self.frame) = (true, None);
                self.put([FLAG].into_iter());
            }
            Some(Symbol::Byte(number)) if self.begun => {
                (self.begun, self.frame) = (false, Some(vec![]));
                self.answer.clear();
                self.put(encode(number));
            }
            Some(Symbol::Byte(byte)) => {
                let Some(frame) = &mut self.frame else { return };
                self.under_way += 1;
                let at = frame.len();
                frame.push(byte);
                let header = frame.first_chunk::<HEADER_BYTES>().map(Header::decode);
                let request = match header {
                    Some(Ok(header)) => header.request_bytes(),
                    _ => usize::MAX,
                };
                if frame.len() == request {
                    let mut whole = frame.clone();
                    whole.resize(request + 2000, 0);
                    let answered = self.slave.answer(&mut whole);
                    self.answer = whole.split_off(request);
                    self.answer.truncate(if answered { 2000 } else { 0 });
                }
                let shown = at.checked_sub(request).and_then(|i| self.answer.get(i));
                let shown = shown.copied().unwrap_or(0);
                self.put(encode(shown));
            }
        }
    }
}

impl Stream for Line {
    type Error = Infallible;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        for &byte in bytes {
            let fault = self.faults.next().unwrap_or(Fault::None);
            for byte in fault.apply(byte) {
                self.hear(byte);
            }
        }
        self.most = self.most.max(self.under_way);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        if std::mem::take(&mut self.late) {
            return Ok(0);
        }
        let count = bytes.len().min(self.back.len());
        for (byte, back) in bytes.iter_mut().zip(self.back.drain(..count)) {
            *byte = back;
        }
        self.under_way = 0;
        Ok(count)
    }
}

/// Greets, and writes and reads registers, one of which counts, and memories.
fn works(master: &mut Master<Uart<Line>>, words: &[u32]) -> Result<(), LinkError<Infallible>> {
    master.greet()?;
    let before = master.read(COUNTER)?;
    for (i, &word) in words.iter().enumerate().take(10) {
        master.write(COUNTER, 0)?;
        master.write(regs::KEY0, word)?;
        assert_eq!(master.read(regs::KEY0)?, word);
        assert_eq!(
            master.read(COUNTER)?,
            before + i as u32 + 1,
            "each write once"
        );
    }
    let place = mem_address(region::STEPS, 3, 2);
    master.write(regs::MEM_ADDRESS, place)?;
    master.write_block(regs::MEM_DATA, words)?;
    let found = &master.wire_mut().stream_mut().slave.memory[26..26 + words.len()];
    assert_eq!(found, words);
    let mut found = vec![0; words.len()];
    master.write(regs::MEM_ADDRESS, place)?;
    master.read_block(regs::MEM_DATA, &mut found)?;
    assert_eq!(found, words);
    Ok(())
}

/// A line on which these faults come again and again, each after so many good bytes.
fn line(faults: Vec<(usize, Fault)>) -> Line {
    let round: Vec<_> = faults
        .into_iter()
        .flat_map(|(good, fault)| std::iter::repeat_n(Fault::None, good).chain([fault]))
        .collect();
    Line::new(round.into_iter().cycle())
}

fn faults(good: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        Just(Fault::Lost),
        Just(Fault::Doubled),
        (1u8..).prop_map(Fault::Changed),
        any::<u8>().prop_map(Fault::MadeUp),
        Just(Fault::MadeUp(FLAG)),
    ];
    prop::collection::vec((good, fault), 1..30)
}

proptest! {
    #[test]
    fn a_good_line_loses_no_frame(words in prop::collection::vec(prop_oneof![Just(0), Just(0x7e7d_7e7d), any::<u32>()], 1..300)) {
        let mut master = Master::idle(Uart::new(Line::new(std::iter::empty())));
        prop_assert_eq!(works(&mut master, &words), Ok(()));
        prop_assert_eq!(master.repeated(), 0);
        let most = master.wire_mut().stream_mut().most;
        prop_assert!(most <= CREDIT, "{} bytes under way", most);
    }

    /// The shortest frames, with their answers, fit twice between two faults: some attempt passes.
    #[test]
    fn a_bad_line_costs_frames(words in prop::collection::vec(any::<u32>(), 1..300), faults in faults(200..2000)) {
        let mut master = Master::idle(Uart::new(line(faults)));
        prop_assert_eq!(works(&mut master, &words), Ok(()));
    }

    /// Where no frame may pass, the link is given up, but tells no lie; a mended line works at once.
    #[test]
    fn a_hopeless_line_is_given_up(words in prop::collection::vec(any::<u32>(), 1..300), faults in faults(1..100)) {
        let mut master = Master::idle(Uart::new(line(faults)));
        // Whatever it reads and writes is right, or it says so.
        let _ = works(&mut master, &words);
        master.wire_mut().stream_mut().faults = Box::new(std::iter::empty());
        prop_assert_eq!(works(&mut master, &words), Ok(()));
    }
}

/// An answer that comes after the host has given up is not taken for that of the next frame.
#[test]
fn late_answers_are_passed_over() {
    let mut master = Master::new(Uart::new(Line::new(std::iter::empty()))).unwrap();
    master.write(regs::KEY0, 1).unwrap();
    master.write(regs::KEY1, 2).unwrap();
    for _ in 0..300 {
        master.wire_mut().stream_mut().late = true;
        assert_eq!(master.read(regs::KEY0), Ok(1));
        assert_eq!(master.read(regs::KEY1), Ok(2));
    }
    assert_eq!(master.repeated(), 300);
}
