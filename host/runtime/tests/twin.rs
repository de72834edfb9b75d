//! The digital twin: the firmware that is flashed, in an emulated RP2040, wired to the core's
//! Verilog, through the serial port that a user would open.

use annulus_contract::sample::Gumbel;
use annulus_contract::wire::{Fault, Object, Place, Reboot, Request};
use annulus_runtime::backend::{self, Backend, BackendError, Board, Choice, Kind};
use annulus_runtime::lockstep::compare;
use annulus_runtime::models;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::serial::{open, Client, Line, SerialError};
use annulus_runtime::{twin, Image};
use annulus_sim::twin::{blank_bitstream, Leds, Twin, TwinError};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const RED: [bool; 3] = [true, false, false];
const YELLOW: [bool; 3] = [true, true, false];
const GREEN: [bool; 3] = [false, true, false];
const MAGENTA: [bool; 3] = [true, false, true];

/// A board that is switched on; `None`, and it is said loudly, where a tool is missing.
fn switched_on() -> Option<Twin> {
    match twin::start(None) {
        Ok(twin) => Some(twin),
        Err(BackendError::Twin(
            why
            @ (TwinError::NodeMissing | TwinError::EmulatorMissing | TwinError::FirmwareMissing),
        )) => {
            eprintln!("SKIPPED, nothing was tested: {why}");
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// A session with the board.
fn session(twin: &Twin) -> Client<impl Line> {
    let port = twin.port().to_str().unwrap();
    Client::new(open(port).unwrap(), port).unwrap()
}

fn configure<L: Line>(client: &mut Client<L>) {
    client
        .upload(Object::Bitstream, Place::Live, &blank_bitstream(), |_| ())
        .unwrap();
    client.greet().unwrap();
}

/// Waits for lights.
fn lights(twin: &Twin, expected: [bool; 3]) {
    let start = Instant::now();
    let shown = |Leds { red, green, blue }: Leds| [red, green, blue];
    while shown(twin.leds()) != expected {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "red, green, blue are {:?}, not {expected:?}",
            shown(twin.leds())
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The shipped model for this board, and how it chooses.
fn names() -> (Image, Gumbel) {
    let model = models::open(
        Path::new("names"),
        None,
        annulus_runtime::Rotation::Hadamard,
    )
    .unwrap();
    let core = twin::core(&[Kind::Twin]).unwrap();
    let image = model.image(&core, None, None).unwrap();
    let sampling = Sampling {
        temperature: 0.8,
        seed: 1,
        top_k: None,
        top_p: None,
    };
    let gumbel = sampling.gumbel(&image).unwrap().unwrap();
    (image, gumbel)
}

/// Tokens of a run from the token that starts a stream.
fn tokens(backend: &mut dyn Backend, image: &Image, gumbel: Gumbel, n: usize) -> Vec<u32> {
    let start = image.special.restart.unwrap();
    backend
        .set_choice(Choice {
            gumbel: Some(gumbel),
            stop: None,
            restart: Some(start),
        })
        .unwrap();
    let mut tokens = Vec::new();
    let ran = backend.run(start, n, &mut |token| {
        tokens.push(token);
        ControlFlow::Continue(())
    });
    assert_eq!(ran.unwrap(), tokens.len());
    tokens
}

/// The same on this processor.
fn expected(image: &Image, gumbel: Gumbel, n: usize) -> Vec<u32> {
    let core = twin::core(&[Kind::Twin]).unwrap();
    let mut cpu = backend::open(Kind::Cpu, &core, None, None).unwrap();
    cpu.load(image).unwrap();
    tokens(cpu.as_mut(), image, gumbel, n)
}

#[test]
fn a_board_says_what_it_is_and_takes_only_a_sound_bitstream() {
    let Some(twin) = switched_on() else { return };
    let device = twin.device().unwrap();
    assert_eq!((device.vendor, device.product), (0x1209, 0x0001));
    assert_eq!(device.name, "Annulus pico-ice");

    let mut client = session(&twin);
    let greeting = client.greeting().clone();
    assert_eq!(greeting.board, "pico-ice");
    assert_eq!(greeting.part, "iCE40UP5K");
    assert_eq!(greeting.core, Err(Fault::NotConfigured));
    assert_eq!((greeting.bitstream, greeting.died), (None, None));
    lights(&twin, RED);

    let mut damaged = blank_bitstream();
    damaged[50_000] ^= 4;
    let refused = client.upload(Object::Bitstream, Place::Live, &damaged, |_| ());
    let Err(SerialError::Fault { fault, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(fault, Fault::Configuration);
    assert!(!twin.configured());
    lights(&twin, MAGENTA);

    configure(&mut client);
    assert!(twin.configured());
    lights(&twin, YELLOW);
    let greeting = client.greeting();
    assert_eq!(greeting.shape().ok(), twin::core(&[Kind::Twin]));
    assert!(greeting.bitstream.is_some());

    // The microcontroller forgets, the FPGA does not.
    client.ask(&Request::Reboot(Reboot::Firmware)).unwrap();
    while client.greet().is_ok() {}
    drop(client);
    let client = until_back(&twin);
    assert_eq!(client.greeting().died, None);
    assert!(twin.configured());
    assert_eq!(client.greeting().shape().ok(), twin::core(&[Kind::Twin]));
}

/// A session with a board that comes back by itself.
fn until_back(twin: &Twin) -> Client<impl Line> {
    let port = twin.port().to_str().unwrap();
    let start = Instant::now();
    loop {
        let session = open(port).and_then(|line| Client::new(line, port));
        match session {
            Ok(client) => return client,
            Err(why) => assert!(start.elapsed() < Duration::from_secs(60), "{why}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn names_on_the_board_are_those_of_the_cpu_bit_for_bit() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut board = twin::connect(twin).unwrap();
    board.load(&image).unwrap();
    lights(board.client().line_mut().twin(), GREEN);
    board.self_test().unwrap();

    assert_eq!(
        tokens(&mut board, &image, gumbel, 40),
        expected(&image, gumbel, 40)
    );
    // Where the time went, for who looks with --nocapture.
    println!("{:?}", board.client().meters().unwrap());

    // Token by token, with every logit.
    let core = twin::core(&[Kind::Twin]).unwrap();
    let mut cpu = backend::open(Kind::Cpu, &core, None, None).unwrap();
    cpu.load(&image).unwrap();
    board.reset().unwrap();
    let choice = Choice {
        gumbel: Some(gumbel),
        stop: None,
        restart: image.special.restart,
    };
    let mut both: Vec<Box<dyn Backend>> = vec![cpu, Box::new(board)];
    let start = image.special.restart.unwrap();
    let agreement = compare(&mut both, &[start], 12, choice, |_| ()).unwrap();
    assert_eq!(agreement.difference, None);
    assert_eq!(agreement.positions, 12);
}

/// A line that damages, drops and doubles bytes, one in a thousand of each.
struct Noisy<L> {
    line: L,
    random: u64,
    struck: u64,
}

impl<L> Noisy<L> {
    fn noise(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &byte in bytes {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let fate = (self.random >> 32) % 1000;
            self.struck += u64::from(fate < 3);
            match fate {
                0 => out.push(byte ^ 1 << (self.random >> 29 & 7)),
                1 => {}
                2 => out.extend([byte, byte]),
                _ => out.push(byte),
            }
        }
        out
    }
}

impl<L: Line> Line for Noisy<L> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = self.noise(bytes);
        self.line.send(&bytes)
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize> {
        let half = bytes.len() / 2;
        let count = self.line.receive(&mut bytes[..half], patience)?;
        let noisy = self.noise(&bytes[..count]);
        bytes[..noisy.len()].copy_from_slice(&noisy);
        Ok(noisy.len())
    }
}

#[test]
fn bad_wires_cost_time_and_no_token() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let port = twin.port().to_str().unwrap();
    let mut client = session(&twin);
    configure(&mut client);
    drop(client);

    let line = Noisy {
        line: open(port).unwrap(),
        random: 0x2545_f491_4f6c_dd1d,
        struck: 0,
    };
    let mut board = Board::new(Kind::Twin, Client::new(line, port).unwrap()).unwrap();
    twin.damage_spi(20);
    board.load(&image).unwrap();
    assert_eq!(
        tokens(&mut board, &image, gumbel, 24),
        expected(&image, gumbel, 24)
    );
    let meters = board.client().meters().unwrap();
    assert!(board.client().line_mut().struck > 0 && board.client().repeated() > 0);
    assert!(meters.link_repeated > 0, "{meters:?}");
}

#[test]
fn hosts_and_plugs_that_go_in_mid_stream_are_come_back_from() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut client = session(&twin);
    configure(&mut client);
    let mut board = Board::new(Kind::Twin, client).unwrap();
    board.load(&image).unwrap();
    let wanted = expected(&image, gumbel, 12);

    // A host that is killed: nobody reads what still comes.
    let mut heard = 0;
    board
        .run(image.special.restart.unwrap(), 100_000, &mut |_| {
            heard += 1;
            match heard {
                5 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
        .unwrap();
    board
        .client()
        .ask(&Request::Run {
            run: 77,
            token: 0,
            count: 100_000,
        })
        .unwrap();
    drop(board);

    // The next one finds the board in a run, and has it for itself.
    let mut board = Board::new(Kind::Twin, session(&twin)).unwrap();
    board.load(&image).unwrap();
    assert_eq!(tokens(&mut board, &image, gumbel, 12), wanted);

    // The reset button, in a run: the port hangs up.
    board
        .client()
        .ask(&Request::Run {
            run: 78,
            token: 0,
            count: 100_000,
        })
        .unwrap();
    twin.reset().unwrap();
    assert!(matches!(
        board.client().greet(),
        Err(SerialError::Gone { .. })
    ));
    drop(board);
    let mut board = Board::new(Kind::Twin, session(&twin)).unwrap();
    board.load(&image).unwrap();
    assert_eq!(tokens(&mut board, &image, gumbel, 12), wanted);

    // The plug.
    twin.replug().unwrap();
    drop(board);
    assert!(!twin.configured());
    let client = session(&twin);
    assert_eq!(client.greeting().core, Err(Fault::NotConfigured));
}
