//! Frames of the serial link: what is sent is understood, what is not a frame is refused,
//! and the master's driver gets through a bad line or says that it cannot.

mod slave;

use annulus_contract::link::{
    advance, crc, decode_answer, decode_payload, encode_answer, encode_payload, FrameError, Header,
    LinkError, Master, Op, Status, Wire, ANSWER_BYTES, ATTEMPTS, HEADER_BYTES, PAYLOAD_BYTES,
};
use annulus_contract::regs::{self, mem_address, region};
use proptest::prelude::*;
use slave::{Slave, COUNTER};
use std::convert::Infallible;

fn op() -> impl Strategy<Value = Op> {
    prop::sample::select(vec![Op::Read, Op::Write, Op::MemoryRead, Op::MemoryWrite])
}

proptest! {
    #[test]
    fn headers_come_back(op in op(), bytes: [u8; 3], argument: u32) {
        let [sequence, register, count] = bytes;
        let header = Header { op, sequence, register, count, argument };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn payloads_and_answers_come_back(words in prop::collection::vec(any::<u32>(), 0..80), sequence: u8, flags: u8) {
        let mut found = vec![0; words.len()];
        let mut part = vec![0; 4 * words.len() + PAYLOAD_BYTES];
        encode_payload(&words, &mut part);
        prop_assert_eq!(decode_payload(&part, &mut found), Ok(()));
        prop_assert_eq!(&found, &words);

        let status = Status { sequence, flags };
        let mut part = vec![0; 4 * words.len() + ANSWER_BYTES];
        encode_answer(status, &words, &mut part);
        found.fill(0);
        prop_assert_eq!(decode_answer(&part, &mut found), Ok(status));
        prop_assert_eq!(&found, &words);
    }

    /// Up to three wrong bits anywhere are always found.
    #[test]
    fn damage_is_found(words in prop::collection::vec(any::<u32>(), 0..70), at in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let mut part = vec![0; 4 * words.len() + ANSWER_BYTES];
        encode_answer(Status { sequence: 7, flags: 1 }, &words, &mut part);
        let whole = part.clone();
        for index in at {
            let bit = index.index(8 * part.len());
            part[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assume!(part != whole);
        prop_assert_eq!(decode_answer(&part, &mut vec![0; words.len()]), Err(FrameError::Crc));
    }

    #[test]
    fn anything_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), words in 0usize..80) {
        let mut found = vec![0; words];
        let payload = decode_payload(&bytes, &mut found);
        prop_assert_eq!(payload == Err(FrameError::Length), bytes.len() != 4 * words + PAYLOAD_BYTES);
        let answer = decode_answer(&bytes, &mut found);
        prop_assert_eq!(answer == Err(FrameError::Length), bytes.len() != 4 * words + ANSWER_BYTES);
        if let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
            let sound = crc(&header[..8]).to_be_bytes() == header[8..];
            prop_assert_eq!(Header::decode(header).is_ok(), sound && Op::Read as u8 <= header[0] && header[0] <= Op::MemoryWrite as u8);
        }
        // Short of room, what fits is written and nothing panics.
        encode_payload(&found, &mut bytes.clone());
        encode_answer(Status { sequence: 0, flags: 0 }, &found, &mut bytes.clone());
    }

    #[test]
    fn one_word_after_the_other(at: u32, words in 0u32..300, rows in 0u32..17) {
        let lanes = region::lanes(at >> 28, rows).max(1);
        let at = mem_address(at >> 28, at & 0xf_ffff, (at >> 20 & 0xff) % lanes);
        let single = (0..words).fold(at, |at, _| advance(at, 1, rows));
        prop_assert_eq!(advance(at, words, rows), single);
    }
}

#[test]
fn unknown_operations_and_silent_lines_are_refused() {
    let mut request = Header::read(regs::ID, 1).encode();
    request[0] = 0xb0;
    let sum = crc(&request[..8]);
    request[8..].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(Header::decode(&request), Err(FrameError::Operation));
    // A line that is stuck low, or high: the CRC of one word of ones is ones.
    assert_eq!(decode_answer(&[0; 8], &mut []), Err(FrameError::Crc));
    assert_eq!(decode_answer(&[0xff; 8], &mut []), Err(FrameError::Marker));
    assert_eq!(decode_answer(&[0xff; 12], &mut [0]), Err(FrameError::Crc));
}

proptest! {
    #[test]
    fn the_master_gets_through(losses in prop::collection::vec(any::<(bool, bool)>(), 0..ATTEMPTS as usize), sequence: u8, words in prop::collection::vec(any::<u32>(), 1..300)) {
        // Of each round, no longer than the master is patient, some frame gets through.
        let mut round = losses.into_iter().chain([(false, false)]).cycle();
        let mut master = Master::new(Slave::new(sequence, || round.next().unwrap_or_default())).unwrap();
        for (i, &word) in words.iter().enumerate().take(20) {
            master.write(COUNTER, 0).unwrap();
            master.write(regs::KEY0, word).unwrap();
            prop_assert_eq!(master.read(regs::KEY0), Ok(word));
            prop_assert_eq!(master.read(COUNTER), Ok(i as u32 + 1), "each write once");
        }
        master.write(regs::MEM_ADDRESS, mem_address(region::STEPS, 3, 2)).unwrap();
        master.write_block(regs::MEM_DATA, &words).unwrap();
        prop_assert_eq!(&master.wire_mut().memory[26..26 + words.len()], &words);
        let mut found = vec![0; words.len() - 1];
        master.write(regs::MEM_ADDRESS, mem_address(region::STEPS, 3, 3)).unwrap();
        master.read_block(regs::MEM_DATA, &mut found).unwrap();
        prop_assert_eq!(&found, &words[1..]);
    }
}

#[test]
fn without_an_answer_it_gives_up() {
    assert_eq!(
        Master::new(Slave::new(0, || (true, false))).map(drop),
        Err(LinkError::NoAnswer)
    );
    let mut frames = 0;
    let mut master = Master::new(Slave::new(0, || {
        frames += 1;
        (false, frames > 3)
    }))
    .unwrap();
    master.write(regs::MEM_ADDRESS, 0).unwrap();
    assert_eq!(
        master.write_block(regs::MEM_DATA, &[1; 100]),
        Err(LinkError::NoAnswer)
    );
    assert_eq!(master.read(regs::ID), Err(LinkError::NoAnswer));
    assert_eq!(master.repeated(), 2 * u64::from(ATTEMPTS));
}

/// A line that doubles the last byte of the first header of a memory frame with a payload.
struct Slips {
    slave: Slave<fn() -> (bool, bool)>,
    slipped: bool,
}

impl Wire for Slips {
    type Error = Infallible;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Infallible> {
        let payload = frame[0] == Op::MemoryWrite as u8;
        if payload && !std::mem::replace(&mut self.slipped, true) {
            frame.copy_within(HEADER_BYTES - 1..frame.len() - 1, HEADER_BYTES);
        }
        self.slave.exchange(frame)
    }
}

#[test]
fn a_word_that_slips_past_its_checksum_is_written_again() {
    let ends_in_ones = |bytes: &[u8]| crc(bytes) & 0xff == 0xff;
    let address = (0..800)
        .find(|&word| ends_in_ones(&Header::memory_write(place(word), 1).encode()[..8]))
        .expect("one in 256 does");
    let word = (0..u32::MAX)
        .find(|word| ends_in_ones(&word.to_be_bytes()))
        .expect("one in 256 does");
    let slave = Slave::new(0, (|| (false, false)) as fn() -> _);
    let slipped = false;
    let mut master = Master::new(Slips { slave, slipped }).unwrap();
    master.write(regs::MEM_ADDRESS, place(address)).unwrap();
    master.write_block(regs::MEM_DATA, &[word]).unwrap();
    assert!(master.wire_mut().slipped);
    assert_eq!(master.wire_mut().slave.memory[address as usize], word);
    assert_eq!(master.repeated(), 0, "the checksum has not found it");
}

/// Where the slave keeps a word of its memory.
fn place(word: u32) -> u32 {
    mem_address(region::STEPS, word / 8, word % 8)
}
