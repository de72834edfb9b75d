//! Anything on the wire, both ways: nothing panics, nothing hangs, and who was shouted at listens
//! again when it is spoken to.

use annulus_contract::flash::Slot;
use annulus_contract::script::Script;
use annulus_contract::shape::of_board;
use annulus_contract::wire::{
    decode, encode, Answer, Digest, End, Fault, FrameError, Head, Hello, Meters, Object, Place,
    Reboot, Receiver, Request, Side, MAX_CHUNK, MAX_FRAME, MAX_TOKENS, MAX_WORDS,
};
use annulus_model::interpret::Interpreter;
use annulus_model::random::Rng;
use annulus_runtime::models;
use annulus_runtime::serial::{Client, Line, SerialError};
use annulus_runtime::Rotation;
use annulus_test_board::{Bench, Cable, Fpga, Gate, Slave, TestBoard};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A request with anything in it, as long as the protocol can say it.
fn request<'a>(rng: &mut Rng, bytes: &'a [u8]) -> Request<'a> {
    let some = &bytes[..rng.within(0, bytes.len() as i32) as usize];
    let byte = |rng: &mut Rng| rng.bits() as u8;
    let small = |rng: &mut Rng| rng.bits() >> rng.within(0, 31);
    let object = |rng: &mut Rng| {
        let all = [Object::Image, Object::Bitstream, Object::Script];
        all[rng.within(0, 2) as usize]
    };
    match rng.within(0, 16) {
        0 => Request::Begin {
            object: object(rng),
            place: if rng.one_in(2) {
                Place::Live
            } else {
                Place::Stored
            },
            digest: Digest {
                length: small(rng),
                crc: rng.bits(),
            },
        },
        1 | 2 => Request::Chunk {
            offset: if rng.one_in(2) { 0 } else { small(rng) },
            bytes: some,
        },
        3 => Request::Finish,
        4 => Request::ReadRegisters {
            first: byte(rng),
            count: byte(rng),
        },
        5 => Request::WriteRegister {
            register: byte(rng),
            value: small(rng),
        },
        6 => Request::ReadMemory {
            address: rng.bits(),
            count: byte(rng),
        },
        7 => Request::WriteMemory {
            address: rng.bits(),
            words: some,
        },
        8 => Request::Prompt { tokens: some },
        9 => Request::Run {
            run: small(rng),
            token: byte(rng).into(),
            count: small(rng),
        },
        10 => Request::Credit {
            run: small(rng),
            from: small(rng),
            until: small(rng),
        },
        11 => Request::Stop,
        12 => Request::SelfTest,
        13 => Request::Reset,
        14 => Request::Meters,
        15 => Request::Erase(object(rng)),
        _ => Request::Reboot(Reboot::Firmware),
    }
}

/// Noise, frames, and frames that are nearly right.
fn shout(rng: &mut Rng, session: u32, out: &mut Vec<u8>) {
    let mut bytes = [0; MAX_CHUNK];
    if rng.one_in(3) {
        let count = rng.within(0, 90);
        out.extend((0..count).map(|_| (rng.bits() >> rng.within(0, 31)) as u8));
        return;
    }
    let length = rng.within(0, MAX_CHUNK as i32) as usize;
    bytes[..length].fill_with(|| rng.bits() as u8);
    let head = Head {
        session: if rng.one_in(8) { rng.bits() } else { session },
        version: if rng.one_in(16) {
            9
        } else {
            annulus_contract::wire::VERSION
        },
        sequence: rng.within(0, 40) as u16,
    };
    let request = request(rng, &bytes[..length]);
    let mut frame = [0; MAX_FRAME];
    let length = encode(Side::Host, head, &request, &mut frame).expect("it fits");
    let frame = &mut frame[..length];
    if rng.one_in(4) {
        let at = rng.within(0, length as i32 - 1) as usize;
        frame[at] ^= 1 << rng.within(0, 7);
    }
    out.extend_from_slice(frame);
}

fn slave() -> Slave {
    Slave::new(Interpreter::new(of_board("pico-ice").expect("a board")))
}

fn bench(wire: Slave) -> Bench<TestBoard, Gate<Slave>> {
    let fpga = Fpga::new(true);
    Bench::new(TestBoard::new(fpga.clone()), Gate { wire, fpga })
}

/// Shouts between which a board is brought back to where shouts lead somewhere.
const ROUND: usize = 500;

/// Shouts at a board whose core has an image, then speaks to it; and again. Returns the kinds of what
/// it has answered.
fn board_listens_again(shouts: usize, seed: u64) -> BTreeSet<String> {
    let core = of_board("pico-ice").expect("a board");
    let model = models::open(Path::new("names"), None, Rotation::Hadamard).expect("it is shipped");
    let image = model.image(&core, None, None).expect("it fits");
    let vocab = image.config.vocab as u32;
    let image = image.to_bytes();
    let mut rng = Rng::new(seed);
    let mut kinds = BTreeSet::new();
    let slave = slave();
    let fence = slave.fence.clone();
    let bench = bench(slave).shared();
    for round in 0..shouts / ROUND {
        fence.store(0, Ordering::Relaxed);
        // Somebody may have begun to configure the FPGA, or to replace the image.
        let prepared = Client::new(Cable(bench.clone()), "the bench").and_then(|mut client| {
            client.order(&Request::Reset).or_else(fpga_is_empty)?;
            if client.greet()?.core.is_err() {
                client.upload(Object::Bitstream, Place::Live, b"any", |_| ())?;
            }
            client.upload(Object::Image, Place::Live, &image, |_| ())?;
            client.order(&Request::SelfTest)
        });
        prepared.unwrap_or_else(|error| panic!("round {round}: {error}"));
        fence.store(vocab, Ordering::Relaxed);
        let mut bench = bench.borrow_mut();
        let mut hello = [0; MAX_FRAME];
        let length = encode(Side::Host, Head::new(7, 100), &Request::Hello, &mut hello);
        bench.to_board.extend(&hello[..length.expect("it fits")]);
        for _ in 0..ROUND {
            let mut bytes = vec![];
            shout(&mut rng, 7, &mut bytes);
            bench.to_board.extend(bytes);
            while !bench.to_board.is_empty() {
                bench.turn();
            }
            kinds.extend(answers(bench.to_host.drain(..)));
        }
    }
    kinds
}

/// What a board has said, by kinds.
fn answers(said: impl Iterator<Item = u8>) -> Vec<String> {
    let mut receiver = Receiver::new();
    let mut kinds = Vec::new();
    for byte in said {
        if let Some(frame) = receiver.push(byte) {
            let (_, answer) = decode::<Answer>(Side::Board, frame).expect("a board sends frames");
            kinds.push(match answer {
                Answer::Fault(fault) => name(&fault),
                answer => name(&answer),
            });
        }
    }
    kinds
}

/// Somebody may have begun to configure the FPGA.
fn fpga_is_empty(error: SerialError) -> Result<(), SerialError> {
    match error {
        SerialError::Fault {
            fault: Fault::NotConfigured | Fault::NoCore | Fault::Stuck,
            ..
        } => Ok(()),
        other => Err(other),
    }
}

/// Whether shouting has gone through all that a board does, and not only to its door.
fn went_everywhere(kinds: &BTreeSet<String>) {
    for kind in [
        "Hello",
        "Working",
        "Done",
        "Have",
        "Words",
        "Tokens",
        "Meters",
        "NoUpload",
        "NoRun",
        "NotConfigured",
        "NotLoaded",
        "NoStorage",
        "Request",
        "Session",
        "Token",
        "Version",
        "Incomplete",
    ] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
}

#[test]
fn a_board_that_was_shouted_at_listens() {
    println!("{:?}", board_listens_again(20_000, 1));
}

/// What a host hears, whatever it asks.
struct Shouting {
    rng: Rng,
    left: usize,
}

impl Line for Shouting {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], _: Duration) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.left -= 1;
        let mut said = vec![];
        shout(&mut self.rng, 7, &mut said);
        said.truncate(bytes.len());
        bytes[..said.len()].copy_from_slice(&said);
        Ok(said.len())
    }
}

#[test]
fn a_host_that_is_shouted_at_says_so() {
    for seed in 0..300 {
        let rng = Rng::new(seed);
        let error = Client::new(Shouting { rng, left: 60 }, "the bench").err();
        assert!(matches!(error, Some(SerialError::Stranger(_))), "{error:?}");
    }
}

/// Every message comes back as it went; what comes after it does not matter.
#[test]
fn messages_come_back() {
    let mut rng = Rng::new(3);
    let mut frame = [0; MAX_FRAME];
    let mut receiver = Receiver::new();
    for i in 0..20_000u32 {
        let mut bytes = [0; MAX_CHUNK];
        bytes.fill_with(|| rng.bits() as u8);
        let sent = request(&mut rng, &bytes);
        let head = Head::new(rng.bits(), i as u16);
        let length = encode(Side::Host, head, &sent, &mut frame).expect("it fits");
        assert!(!frame[1..length - 1].contains(&0));
        // Noise before a frame does no harm to it.
        let noise: Vec<u8> = (0..rng.within(0, 30)).map(|_| rng.bits() as u8).collect();
        let mut found = 0;
        for &byte in noise.iter().chain(&frame[..length]) {
            if let Some(bytes) = receiver.push(byte) {
                if let Ok(received) = decode::<Request>(Side::Host, bytes) {
                    assert_eq!(received, (head, sent));
                    found += 1;
                }
            }
        }
        assert_eq!(found, 1);
    }
}

#[test]
fn answers_come_back_and_the_longest_fit() {
    let long = [0x5a; 4 * MAX_WORDS];
    let digest = Some(Digest {
        length: !0,
        crc: !0,
    });
    let answers = [
        Answer::Working,
        Answer::Done,
        Answer::Have(!0),
        Answer::Words(&long),
        Answer::Tokens {
            run: !0,
            first: !0,
            tokens: &long[..2 * MAX_TOKENS],
            end: Some(End::Fault(Fault::SelfTestToken {
                index: !0,
                expected: !0,
                found: !0,
            })),
        },
        Answer::Meters(Meters {
            micros: !0,
            link_micros: !0,
            busy_micros: !0,
            held_micros: !0,
            tokens: !0,
            frames: !0,
            damaged: !0,
            repeated: !0,
            link_repeated: !0,
        }),
        Answer::Hello(Hello {
            board: "pico-ice",
            part: "iCE40UP5K",
            firmware: "0.1.0",
            bitstream: digest,
            core: Ok([!0; 9]),
            image: digest,
            stored_bitstream: digest,
            stored_image: digest,
            stored_script: digest,
            stayed: Some(Fault::Damaged(Object::Script)),
            died: Some("a panic in a file with a long name, at a line, with a message"),
        }),
    ];
    for answer in answers {
        let mut frame = [0; MAX_FRAME];
        let head = Head::new(1, 2);
        let length = encode(Side::Board, head, &answer, &mut frame).expect("it fits");
        let inside = &mut frame[1..length - 1];
        let mut copy = inside.to_vec();
        assert_eq!(decode::<Answer>(Side::Board, inside), Ok((head, answer)));
        // The other side's ears are deaf to it.
        assert_eq!(
            decode::<Request>(Side::Host, &mut copy),
            Err(FrameError::Echo)
        );
    }
    let mut frame = [0; MAX_FRAME];
    let longest = Request::Chunk {
        offset: !0,
        bytes: &[1; MAX_CHUNK],
    };
    encode(Side::Host, Head::new(!0, !0), &longest, &mut frame).expect("it fits");
    let longest = Request::WriteMemory {
        address: !0,
        words: &long,
    };
    encode(Side::Host, Head::new(!0, !0), &longest, &mut frame).expect("it fits");
}

/// Bytes that are nothing are refused, without a panic: parser and stuffing alone.
fn parser_refuses(inputs: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut bytes = [0u8; 64];
    for _ in 0..inputs {
        let length = rng.within(0, 64) as usize;
        let narrow = rng.within(0, 31);
        bytes[..length].fill_with(|| (rng.bits() >> narrow) as u8);
        let mut copy = bytes;
        assert!(decode::<Request>(Side::Host, &mut bytes[..length]).is_err());
        assert!(decode::<Answer>(Side::Board, &mut copy[..length]).is_err());
    }
}

#[test]
fn noise_is_no_frame() {
    parser_refuses(300_000, 4);
}

#[test]
fn ten_million_inputs() {
    parser_refuses(9_000_000, 5);
    went_everywhere(&board_listens_again(1_000_000, 6));
}

#[test]
#[ignore = "minutes"]
fn ten_million_inputs_to_the_dispatcher() {
    went_everywhere(&board_listens_again(10_000_000, 7));
}

/// What is in flash may be anything: neither places nor scripts are read past their end.
#[test]
fn noise_is_no_script() {
    let mut rng = Rng::new(9);
    let mut bytes = vec![0; 128];
    let mut read = 0;
    for _ in 0..200_000 {
        let length = rng.within(0, 128) as usize;
        let narrow = rng.within(16, 31);
        bytes[..length].fill_with(|| (rng.bits() >> narrow) as u8);
        if let Some(script) = Script::decode(&bytes[..length]) {
            read += 1;
            for token in [0, 1, 20, u16::MAX] {
                assert!(script.spelling(0, token).len() <= length);
            }
        }
    }
    println!("{read} were read as scripts");
    for object in [Object::Bitstream, Object::Image, Object::Script] {
        assert_eq!(Slot::of(object).decode(&bytes), None);
    }
}

// ---- the corpus --------------------------------------------------------------

/// Inputs that were found by shouting, each the first of its kind: what a board was sent, and what
/// it did with it. One a line: what came of it, and the bytes.
const CORPUS: &str = include_str!("wire.corpus");

/// What a board that was just switched on and greeted answers to some bytes: by the kinds of its
/// answers.
fn came_of(bytes: &[u8]) -> String {
    let mut bench = bench(slave());
    let mut hello = [0; MAX_FRAME];
    let head = Head::new(7, 100);
    let length = encode(Side::Host, head, &Request::Hello, &mut hello).expect("it fits");
    bench.to_board.extend(&hello[..length]);
    bench.to_board.extend(bytes);
    while !bench.to_board.is_empty() {
        bench.turn();
    }
    for _ in 0..50 {
        bench.turn();
    }
    answers(bench.to_host.drain(..)).join(" ")
}

/// What a value is called, without what it holds.
fn name(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_corpus_does_what_it_did() {
    let mut known = 0;
    for line in CORPUS.lines() {
        let (expected, digits) = line.split_once(": ").expect("a line of two parts");
        let bytes: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(came_of(&bytes), expected, "{digits}");
        known += 1;
    }
    assert!(known > 20, "{known} inputs");
}

/// Looks for kinds that the corpus does not have, and prints them as its lines.
#[test]
#[ignore = "a search that takes a minute"]
fn a_larger_corpus() {
    let mut rng = Rng::new(9);
    let mut known: BTreeSet<String> = CORPUS
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
        .collect();
    let before = known.len();
    for _ in 0..100_000 {
        let mut bytes = Vec::new();
        for _ in 0..rng.within(1, 2) {
            shout(&mut rng, 7, &mut bytes);
        }
        let kinds = came_of(&bytes);
        if bytes.len() < 150 && known.insert(kinds.clone()) {
            println!("{kinds}: {}", hex(&bytes));
        }
    }
    println!("{} kinds more than {before}", known.len() - before);
}
