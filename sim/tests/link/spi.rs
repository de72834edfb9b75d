//! The SPI slave.

use super::*;
use annulus_contract::link::{Header, Status, ANSWER_BYTES, HEADER_BYTES};
use annulus_sim::link::{SpiDesign, SpiMaster, SpiWire, Timing, CLOCK};

fn wire(timing: Timing) -> SpiWire {
    SpiDesign::build(&core_shape(), &mut |_| ())
        .expect("the core builds")
        .instance(timing)
}

fn master(timing: Timing) -> SpiMaster {
    Master::new(wire(timing)).expect("the core answers")
}

// ---- accesses ----------------------------------------------------------------

#[test]
fn registers() {
    let mut core = master(Timing::FASTEST);
    registers_are_read_and_written(&mut core);
    assert_eq!(core.repeated(), 0);
}

#[test]
fn every_memory_is_reached_in_bursts() {
    let mut core = master(Timing::FASTEST);
    memories_hold_what_is_written(&mut core, 4, 1);
    assert_eq!(core.repeated(), 0);
}

// ---- timing ------------------------------------------------------------------

/// Every ratio from the fastest on, with the clocks drifting through all phases or standing
/// at one, and SCK as lopsided as is allowed.
#[test]
fn any_ratio_and_phase_of_the_clocks() {
    let design = SpiDesign::build(&core_shape(), &mut |_| ()).expect("the core builds");
    let halves = [
        (512, 512),
        (384, 640),
        (640, 384),
        (513, 512),
        (530, 545),
        (601, 577),
        (900, 901),
        (2048, 2048),
        (5003, 4001),
    ];
    for (low, high) in halves {
        for phase in [0, 1, 50, 128, 200, 255] {
            for delay in [0, CLOCK * 3 / 4] {
                let timing = Timing {
                    low,
                    high,
                    phase,
                    delay,
                };
                let mut core = Master::new(design.instance(timing)).expect("the core answers");
                let words: Vec<u32> = (0..70)
                    .map(|i| 0x9e37_79b9u32.wrapping_mul(i + 1))
                    .collect();
                core.write(regs::MEM_ADDRESS, mem_address(region::STEPS, 3, 5))
                    .unwrap();
                core.write_block(regs::MEM_DATA, &words).unwrap();
                let mut found = vec![0; words.len()];
                core.write(regs::MEM_ADDRESS, mem_address(region::STEPS, 3, 5))
                    .unwrap();
                core.read_block(regs::MEM_DATA, &mut found).unwrap();
                assert_eq!(found, words, "{timing:?}");
                assert_eq!(core.repeated(), 0, "{timing:?}");
            }
        }
    }
}

// ---- frame by frame ----------------------------------------------------------

/// Sends a request and returns the status of a good answer, with a word if `answer` asks.
fn send(wire: &mut SpiWire, request: &[u8], words: usize) -> Option<(Status, Vec<u32>)> {
    let mut frame = request.to_vec();
    frame.resize(request.len() + ANSWER_BYTES + 4 * words, 0);
    wire.exchange(&mut frame).unwrap();
    assert!(
        frame[..request.len()].iter().all(|&byte| byte == 0),
        "MISO is low during a request"
    );
    let mut found = vec![0; words];
    match link::decode_answer(&frame[request.len()..], &mut found) {
        Ok(status) => Some((status, found)),
        Err(_) => {
            assert!(
                frame.iter().all(|&byte| byte == 0),
                "no answer is silence, not noise"
            );
            None
        }
    }
}

fn read(wire: &mut SpiWire, register: u8, sequence: u8) -> u32 {
    let (status, words) =
        send(wire, &Header::read(register, sequence).encode(), 1).expect("an answer");
    assert_eq!(status.sequence, sequence);
    words[0]
}

#[test]
fn a_damaged_or_short_request_does_nothing() {
    let mut wire = wire(Timing::FASTEST);
    let mut sequence = 1;
    let mut held = |wire: &mut SpiWire| {
        sequence = sequence % 100 + 1;
        read(wire, regs::KEY0, sequence)
    };
    assert_eq!(held(&mut wire), 0);
    let request = Header::write(regs::KEY0, 0xdead_beef, 200).encode();
    for bit in 0..8 * HEADER_BYTES {
        let mut damaged = request;
        damaged[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(send(&mut wire, &damaged, 0), None, "bit {bit}");
        // Cut short there; with that bit lost; with it doubled, unless it only trails the frame.
        let bits: Vec<bool> = (0..8 * HEADER_BYTES)
            .map(|i| request[i / 8] >> (7 - i % 8) & 1 == 1)
            .collect();
        let (before, after) = bits.split_at(bit);
        let doubled = [before, &after[..1], after].concat();
        for sent in [before.to_vec(), [before, &after[1..]].concat(), doubled] {
            if sent.starts_with(&bits) {
                continue;
            }
            wire.select();
            for bit in sent {
                wire.bit(bit);
            }
            wire.deselect();
        }
        assert_eq!(held(&mut wire), 0, "bit {bit}");
    }
    let unknown = [0x00, 0x20, 0xa4, 0xb0, 0xe0];
    for op in unknown {
        let mut request = request;
        request[0] = op;
        let crc = link::crc(&request[..8]);
        request[8..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(send(&mut wire, &request, 0), None, "operation {op:#x}");
    }
    assert_eq!(held(&mut wire), 0);
    assert!(send(&mut wire, &request, 0).is_some());
    assert_eq!(held(&mut wire), 0xdead_beef);
}

#[test]
fn a_damaged_payload_is_not_acknowledged() {
    let mut wire = wire(Timing::FASTEST);
    let words = [1, 2, 3];
    let header = Header::memory_write(mem_address(region::STEPS, 4, 0), 3);
    let mut request = [0; 12 + 16];
    request[..12].copy_from_slice(&header.encode());
    link::encode_payload(&words, &mut request[12..]);
    assert!(send(&mut wire, &request, 0).is_some());
    for bit in 8 * HEADER_BYTES..8 * request.len() {
        let mut damaged = request;
        damaged[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(send(&mut wire, &damaged, 0), None, "bit {bit}");
    }
    assert!(send(&mut wire, &request, 0).is_some());
    // Not one word beyond the three.
    let read = Header::memory_read(mem_address(region::STEPS, 4, 0), 4).encode();
    assert_eq!(
        send(&mut wire, &read, 4).expect("an answer").1,
        [1, 2, 3, 0]
    );
    // No words at all are still a payload.
    let empty = [
        &Header::memory_write(0, 0).encode()[..],
        &link::crc(&[]).to_be_bytes(),
    ]
    .concat();
    assert!(send(&mut wire, &empty, 0).is_some());
}

/// The answer is lost each time: the frame is sent again, and the register moves once.
#[test]
fn a_repeated_access_is_executed_once() {
    let model = small_model(3);
    let image = Image::compile(&model, &core_shape(), 8, 0).unwrap();
    let mut core = master(Timing::FASTEST);
    load(&mut core, &image);
    // Not with the master, which would choose the numbers: three tokens, each sent three times.
    let wire = core.wire_mut();
    let probe = send(wire, &Header::probe().encode(), 0)
        .expect("an answer")
        .0;
    let number = |i: u8| probe.sequence.wrapping_add(i);
    for i in 1..=3 {
        let request = Header::write(regs::TOKEN_IN, u32::from(i), number(i)).encode();
        for _ in 0..3 {
            assert_eq!(
                send(wire, &request, 0).map(|(status, _)| status.sequence),
                Some(number(i))
            );
        }
    }
    wire.pass(100_000 * CLOCK);
    assert_eq!(read(wire, regs::TOKENS, number(4)), 3);
    let mut reference = Reference::new(&model, 8, 0).unwrap();
    for i in 1..=3 {
        let expected = greedy(reference.step(i.into()).unwrap()) | 1 << 31;
        for _ in 0..3 {
            assert_eq!(
                read(wire, regs::TOKEN_OUT, number(4 + i)),
                expected,
                "token {i}"
            );
        }
    }
    assert_eq!(read(wire, regs::TOKEN_OUT, number(8)), 0, "nothing is left");
    // A probe tells the last number, whoever asks.
    assert_eq!(
        send(wire, &Header::probe().encode(), 0).map(|(status, _)| status.sequence),
        Some(number(8))
    );
}

#[test]
fn an_answer_tells_what_the_core_does() {
    let image = Image::compile(&small_model(4), &core_shape(), 8, 0).unwrap();
    let mut core = master(Timing::FASTEST);
    load(&mut core, &image);
    let wire = core.wire_mut();
    let flags = |wire: &mut SpiWire| {
        send(wire, &Header::probe().encode(), 0).map(|(status, _)| status.flags.into())
    };
    assert_eq!(flags(wire), Some(0));
    // A budget keeps it busy for long.
    for (i, (register, value)) in [(regs::BUDGET, 100), (regs::TOKEN_IN, 1)]
        .into_iter()
        .enumerate()
    {
        assert!(send(
            wire,
            &Header::write(register, value, 101 + i as u8).encode(),
            0
        )
        .is_some());
    }
    assert_eq!(flags(wire).map(|f| f & status::BUSY), Some(status::BUSY));
    assert!(wire.run_until_chosen(100_000));
    assert_eq!(
        flags(wire).map(|f| f & status::OUTPUT),
        Some(status::OUTPUT)
    );
}

// ---- models ------------------------------------------------------------------

#[test]
fn a_model_runs_as_the_reference() {
    let mut core = master(Timing::FASTEST);
    for seed in 10..13 {
        runs_as_the_reference(&mut core, &small_model(seed), seed);
    }
    assert_eq!(core.repeated(), 0);
}

// ---- a bad line --------------------------------------------------------------

/// A line that flips each bit, either way, and spoils each byte once in `rate`: drops it,
/// doubles it, clocks it once too little or too much, or lets chip select rise, for the
/// rest of the frame or for a moment.
struct Noisy {
    wire: SpiWire,
    rng: Rng,
    rate: i32,
}

impl Noisy {
    fn master(timing: Timing, rate: i32, seed: u64) -> Master<Noisy> {
        Master::new(Noisy {
            wire: wire(timing),
            rng: Rng::new(seed),
            rate,
        })
        .expect("the core answers")
    }

    fn bits(&mut self, mosi: u8, count: usize) -> u8 {
        (0..count).fold(0, |miso, i| {
            let out = mosi.rotate_left(i as u32 + 1) & 1 == 1;
            let bit = self.wire.bit(out ^ self.rng.one_in(self.rate)) ^ self.rng.one_in(self.rate);
            miso << 1 | u8::from(bit)
        })
    }
}

impl Wire for Noisy {
    type Error = Infallible;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Infallible> {
        self.wire.select();
        for at in 0..frame.len() {
            let byte = frame[at];
            let fault = if self.rng.one_in(self.rate) {
                self.rng.within(1, 6)
            } else {
                0
            };
            frame[at] = match fault {
                1 => continue,
                2 => {
                    self.bits(byte, 8);
                    self.bits(byte, 8)
                }
                3 => self.bits(byte, 7),
                4 => self.bits(byte, 9),
                5 => {
                    frame[at..].fill(0);
                    break;
                }
                6 => {
                    self.wire.deselect();
                    self.wire.select();
                    self.bits(byte, 8)
                }
                _ => self.bits(byte, 8),
            };
        }
        self.wire.deselect();
        Ok(())
    }
}

#[test]
fn a_bad_line_costs_time_and_nothing_else() {
    for (rate, seed) in [(1000, 20), (1000, 21), (300, 22)] {
        let mut core = Noisy::master(
            Timing {
                low: 530,
                high: 545,
                ..Timing::FASTEST
            },
            rate,
            seed,
        );
        runs_as_the_reference(&mut core, &small_model(seed), seed);
        println!("one in {rate}: {} frames sent again", core.repeated());
        assert!(core.repeated() > 100, "the line is bad");
    }
}

#[test]
fn memories_hold_over_a_bad_line() {
    let mut core = Noisy::master(Timing::FASTEST, 1000, 30);
    memories_hold_what_is_written(&mut core, 4, 30);
    assert!(core.repeated() > 100, "the line is bad");
}
