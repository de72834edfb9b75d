//! The digital twin: the firmware that is flashed, in an emulated RP2040, wired to the core's
//! Verilog, through the serial port that a user would open.

use annulus_contract::flash::{Slot, PAGE};
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::clock;
use annulus_contract::wire::{Digest, Fault, Object, Place, Reboot, Request};
use annulus_runtime::backend::twin;
use annulus_runtime::backend::{self, Backend, BackendError, Board, Choice, Kind};
use annulus_runtime::lockstep::compare;
use annulus_runtime::models;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::script::script;
use annulus_runtime::serial::{open, Client, Line, SerialError, UartBoard};
use annulus_runtime::Image;
use annulus_sim::twin::{blank_bitstream, Leds, Twin, TwinError};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const RED: [bool; 3] = [true, false, false];
const YELLOW: [bool; 3] = [true, true, false];
const GREEN: [bool; 3] = [false, true, false];
const MAGENTA: [bool; 3] = [true, false, true];
const WHITE: [bool; 3] = [true, true, true];

/// A board that is switched on; `None`, and it is said loudly, where a tool is missing.
fn switched_on() -> Option<Twin> {
    twin_or_loud(twin::start(None))
}

fn twin_or_loud(started: Result<Twin, BackendError>) -> Option<Twin> {
    match started {
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

const SAMPLING: Sampling = Sampling {
    temperature: 0.8,
    seed: 1,
    top_k: None,
    top_p: None,
};

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
    let gumbel = SAMPLING.gumbel(&image).unwrap().unwrap();
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

    // A stream that is saved in the middle goes on the same way, and so does one of another
    // board's.
    let start = image.special.restart.unwrap();
    board.reset().unwrap();
    tokens(&mut board, &image, gumbel, 7);
    let saved = board.save().unwrap();
    let goes_on = |board: &mut dyn Backend| {
        let mut tokens = Vec::new();
        let ran = board.run(3, 20, &mut |token| {
            tokens.push(token);
            ControlFlow::Continue(())
        });
        ran.unwrap();
        tokens
    };
    let first = goes_on(&mut board);
    board.reset().unwrap();
    board.restore(&saved).unwrap();
    assert_eq!(goes_on(&mut board), first);

    // Where the time of a run goes; and the core never waits for its host.
    board.reset().unwrap();
    board.clear_counters().unwrap();
    let before = board.client().meters().unwrap();
    let count = 200;
    let found = tokens(&mut board, &image, gumbel, count);
    assert_eq!(found, expected(&image, gumbel, count));
    let after = board.client().meters().unwrap();
    let cycles = board.counters().unwrap().unwrap().cycles;
    let micros = (after.micros - before.micros) as f64;
    let share = |part: u64| 100.0 * part as f64 / micros;
    let link = after.link_micros - before.link_micros;
    let busy = after.busy_micros - before.busy_micros;
    let held = after.held_micros - before.held_micros;
    println!(
        "{count} tokens in {micros} us of the board's time, {:.0} tokens/s: core {:.0}%, link {:.0}%, the \
         rest of the firmware {:.0}%, waiting for credit {:.1}%",
        count as f64 * 1e6 / micros,
        share(cycles * 1_000_000 / u64::from(clock::PICO_ICE)),
        share(link),
        share(busy - link),
        share(held),
    );
    assert!(share(held) < 10.0, "{after:?}");

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

// ---- what goes away in the middle ---------------------------------------------

/// A board that is ready to run the image.
fn ready(twin: &Twin, image: &Image) -> Board<impl Line> {
    let mut client = session(twin);
    if client.greeting().core == Err(Fault::NotConfigured) {
        configure(&mut client);
    }
    let mut board = Board::new(Kind::Twin, client).unwrap();
    board.load(image).unwrap();
    board
}

/// Begins a run that nobody will listen to.
fn run_for_long(board: &mut Board<impl Line>) {
    let run = Request::Run {
        run: 77,
        token: 0,
        count: 100_000,
    };
    board.client().order(&run).unwrap();
}

#[test]
fn a_host_that_is_killed_in_a_run_leaves_the_board_to_the_next() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut board = ready(&twin, &image);
    run_for_long(&mut board);
    drop(board);
    let mut board = ready(&twin, &image);
    assert_eq!(
        tokens(&mut board, &image, gumbel, 12),
        expected(&image, gumbel, 12)
    );
}

/// The core waits for a host that has run out of credit, and the lights say so.
#[test]
fn a_host_that_reads_nothing_holds_the_core_for_as_long_as_it_likes() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut board = ready(&twin, &image);
    run_for_long(&mut board);
    lights(&twin, WHITE);
    board.reset().unwrap();
    lights(&twin, GREEN);
    assert_eq!(
        tokens(&mut board, &image, gumbel, 12),
        expected(&image, gumbel, 12)
    );
}

#[test]
fn firmware_that_is_reset_while_the_core_runs_is_come_back_to() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut board = ready(&twin, &image);
    run_for_long(&mut board);
    twin.reset().unwrap();
    assert!(matches!(
        board.client().greet(),
        Err(SerialError::Gone { .. })
    ));
    drop(board);
    assert!(twin.configured());
    let mut board = ready(&twin, &image);
    assert_eq!(
        tokens(&mut board, &image, gumbel, 12),
        expected(&image, gumbel, 12)
    );
}

#[test]
fn a_plug_that_is_pulled_in_the_middle_of_a_generation() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let wanted = expected(&image, gumbel, 12);
    let mut board = ready(&twin, &image);
    let choice = Choice {
        gumbel: Some(gumbel),
        stop: None,
        restart: image.special.restart,
    };
    board.set_choice(choice).unwrap();
    let mut heard = Vec::new();
    let ran = board.run(image.special.restart.unwrap(), 100_000, &mut |token| {
        heard.push(token);
        if heard.len() == 5 {
            twin.replug().unwrap();
        }
        ControlFlow::Continue(())
    });
    assert!(
        matches!(&ran, Err(BackendError::Serial(SerialError::Gone { .. }))),
        "{ran:?}"
    );
    // What was heard before is good.
    let both = heard.len().min(wanted.len());
    assert!(both >= 5 && heard[..both] == wanted[..both], "{heard:?}");
    drop(board);
    assert!(!twin.configured());
    let mut board = ready(&twin, &image);
    assert_eq!(tokens(&mut board, &image, gumbel, 12), wanted);
}

#[test]
fn a_plug_that_is_pulled_in_the_middle_of_a_load() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut client = session(&twin);
    configure(&mut client);
    let bytes = image.to_bytes();
    let mut pulled = false;
    let loaded = client.upload(Object::Image, Place::Live, &bytes, |have| {
        if have > bytes.len() / 2 && !std::mem::replace(&mut pulled, true) {
            twin.replug().unwrap();
        }
    });
    assert!(
        matches!(loaded, Err(SerialError::Gone { .. })),
        "{loaded:?}"
    );
    drop(client);
    let mut board = ready(&twin, &image);
    assert_eq!(
        tokens(&mut board, &image, gumbel, 12),
        expected(&image, gumbel, 12)
    );
}

// ---- without a microcontroller -----------------------------------------------

/// The core of a board over its UART, and this processor, with this model.
fn equal_over_uart(name: &str, path: &Path, window: Option<usize>, count: usize) {
    let uart = UartBoard::named(name).unwrap();
    let core = annulus_contract::shape::of_board(name).unwrap();
    let mut model = models::open(path, None, annulus_runtime::Rotation::Hadamard).unwrap();
    model.suit(&core).unwrap();
    let image = model.image(&core, window, None).unwrap();
    let gumbel = SAMPLING.gumbel(&image).unwrap();
    let mut board = twin::connect_uart(uart, twin::start_uart(uart).unwrap()).unwrap();
    assert_eq!(board.shape(), Some(&core));
    assert_eq!(board.client().greeting().board, name);
    let start = Instant::now();
    board.load(&image).unwrap();
    println!("loaded in {:?}", start.elapsed());
    board.self_test().unwrap();
    let mut cpu = backend::open(Kind::Cpu, &core, None, None).unwrap();
    cpu.load(&image).unwrap();
    let bos = image.special.restart.unwrap_or(1);
    let choice = Choice {
        gumbel,
        stop: None,
        restart: image.special.restart,
    };
    let runs = [&mut board as &mut dyn Backend, cpu.as_mut()].map(|backend| {
        backend.set_choice(choice).unwrap();
        let mut tokens = Vec::new();
        let mut take = |token| {
            tokens.push(token);
            ControlFlow::Continue(())
        };
        assert_eq!(backend.run(bos, count, &mut take).unwrap(), count);
        // Saved and restored in the middle, it goes on the same way.
        let saved = backend.save().unwrap();
        let first = backend.step(tokens[count - 1]).unwrap();
        backend.reset().unwrap();
        backend.restore(&saved).unwrap();
        assert_eq!(backend.step(tokens[count - 1]).unwrap(), first);
        tokens.push(first);
        (tokens, backend.logits().unwrap())
    });
    assert!(runs[0] == runs[1]);
    println!("{:?}", board.client().meters().unwrap());
}

#[test]
fn names_over_the_uart_of_a_ulx3s_are_those_of_the_cpu() {
    equal_over_uart("ulx3s", Path::new("names"), None, 100);
}

#[test]
fn names_over_the_uart_of_a_tang_nano_20k_are_those_of_the_cpu() {
    equal_over_uart("tang-nano-20k", Path::new("names"), None, 30);
}

#[test]
fn stories260k_over_the_uart_of_a_ulx3s_are_those_of_the_cpu() {
    let Some(folder) = std::env::var_os("ANNULUS_DATA") else {
        eprintln!("SKIPPED, nothing was tested: ANNULUS_DATA names no folder with stories260K.bin");
        return;
    };
    equal_over_uart(
        "ulx3s",
        &Path::new(&folder).join("stories260K.bin"),
        Some(128),
        40,
    );
}

/// A model that is too large is refused by the board itself, with what is short and by how much.
#[test]
fn stories260k_does_not_fit_a_pico_ice() {
    let Some(folder) = std::env::var_os("ANNULUS_DATA") else {
        eprintln!("SKIPPED, nothing was tested: ANNULUS_DATA names no folder with stories260K.bin");
        return;
    };
    let Some(twin) = switched_on() else { return };
    let path = Path::new(&folder).join("stories260K.bin");
    let mut model = models::open(&path, None, annulus_runtime::Rotation::Hadamard).unwrap();
    let core = twin::core(&[Kind::Twin]).unwrap();
    model.suit(&core).unwrap();
    let refused = model.image(&core, Some(128), None).unwrap_err().to_string();
    println!("{refused}");
    assert!(refused.contains("167 KiB short"), "{refused}");
    // An image that pretends to be for this core.
    let large = annulus_contract::shape::CoreShape {
        memory: 1 << 20,
        scales: 1 << 16,
        steps: 1 << 12,
        key_scales: 1 << 16,
        score_words: 1 << 12,
        residual: 1 << 10,
        hidden: 1 << 12,
        vocab: 1 << 14,
        ..core
    };
    let image = model.image(&large, Some(128), None).unwrap();
    let mut client = session(&twin);
    configure(&mut client);
    let refused = client.upload(Object::Image, Place::Live, &image.to_bytes(), |_| ());
    let Err(SerialError::Fault {
        fault: Fault::DoesNotFit { needs, has, .. },
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(needs > has);
    println!("{}", refused.unwrap_err());
}

// ---- without a host ----------------------------------------------------------

/// What the board is to keep: bitstream, image and script.
fn objects(image: &Image) -> [(Object, Vec<u8>); 3] {
    [
        (Object::Bitstream, blank_bitstream()),
        (Object::Image, image.to_bytes()),
        (Object::Script, script(image, b"", &SAMPLING).unwrap()),
    ]
}

/// A board with these objects in its flash, which has been damaged since; `None`, and it is said loudly, where a tool is missing.
fn with_flash(
    objects: &[(Object, Vec<u8>)],
    screen: bool,
    damage: impl FnOnce(&mut [u8]),
) -> Option<Twin> {
    let started = twin::flash_of(None).map_err(BackendError::from);
    twin_or_loud(started.and_then(|mut flash| {
        for (object, bytes) in objects {
            let slot = Slot::of(*object);
            let end = slot.contents() + bytes.len();
            flash.resize(flash.len().max(end), 0xff);
            flash[slot.header()..][..PAGE].copy_from_slice(&slot.encode(Digest::of(bytes)));
            flash[slot.contents()..end].copy_from_slice(bytes);
        }
        damage(&mut flash);
        twin::start_with(&flash, screen)
    }))
}

/// What somebody sees who opens the port and says nothing, until it is so many bytes.
fn overheard(twin: &Twin, count: usize) -> String {
    let mut line = open(twin.port().to_str().unwrap()).unwrap();
    let start = Instant::now();
    let mut heard = Vec::new();
    while heard.len() < count {
        assert!(start.elapsed() < Duration::from_secs(120), "{heard:?}");
        let mut bytes = [0; 256];
        let read = line
            .receive(&mut bytes, Duration::from_millis(200))
            .unwrap();
        heard.extend(&bytes[..read]);
    }
    String::from_utf8(heard).unwrap()
}

/// The text that the model writes.
fn text(image: &Image, tokens: &[u32]) -> String {
    let tokenizer = image.tokenizer.as_ref().unwrap();
    let bytes = tokens
        .iter()
        .flat_map(|&token| tokenizer.decode(None, token).unwrap());
    String::from_utf8(bytes.copied().collect()).unwrap()
}

/// The lines that the display shows, read letter by letter.
fn lines(twin: &Twin) -> Vec<String> {
    use embedded_graphics::mock_display::MockDisplay;
    use embedded_graphics::mono_font::{ascii::FONT_6X10, MonoTextStyle};
    use embedded_graphics::pixelcolor::BinaryColor;
    use embedded_graphics::prelude::*;
    use embedded_graphics::text::{Baseline, Text};
    let letters: Vec<(char, Vec<bool>)> = (' '..='~')
        .map(|letter| {
            let mut display = MockDisplay::new();
            let style = MonoTextStyle::new(&FONT_6X10, BinaryColor::On);
            let letter_text = letter.to_string();
            Text::with_baseline(&letter_text, Point::zero(), style, Baseline::Top)
                .draw(&mut display)
                .unwrap();
            let lit = |i| display.get_pixel(Point::new(i % 6, i / 6)) == Some(BinaryColor::On);
            (letter, (0..60).map(lit).collect())
        })
        .collect();
    let screen = twin.screen();
    let letter_at = |x: usize, y: usize| {
        let lit: Vec<bool> = (0..60).map(|i| screen.lit(x + i % 6, y + i / 6)).collect();
        let found = letters.iter().find(|(_, pixels)| *pixels == lit);
        found.map_or('\u{fffd}', |(letter, _)| *letter)
    };
    [0, 14, 24, 34, 44, 54]
        .into_iter()
        .map(|y| {
            let line: String = (0..21).map(|column| letter_at(6 * column, y)).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_board_without_a_host_writes_to_its_display_and_its_port() {
    let (image, gumbel) = names();
    let Some(twin) = with_flash(&objects(&image), true, |_| ()) else {
        return;
    };
    let expected = text(&image, &expected(&image, gumbel, 200));
    let heard = overheard(&twin, 30);
    assert_eq!(heard, expected[..heard.len()]);
    // The display shows whole lines of it, the last one perhaps half; above them the rate.
    let lines = lines(&twin);
    let rate: u32 = lines[0]
        .strip_prefix("annulus")
        .and_then(|rest| rest.strip_suffix("tok/s"))
        .and_then(|rate| rate.trim().parse().ok())
        .unwrap_or_else(|| panic!("{lines:?}"));
    println!("{rate} tokens a second; the display shows {lines:?}");
    assert!(rate > 500);
    let shown = lines[1..].join("\n");
    assert!(
        expected.contains(shown.trim_end()) && shown.len() > 20,
        "{lines:?}"
    );

    // Its flash outlives the plug; and a host has the board as soon as it says hello.
    twin.replug().unwrap();
    let heard = overheard(&twin, 8);
    assert_eq!(heard, expected[..heard.len()]);
    let client = session(&twin);
    assert_eq!(client.greeting().stayed, None);
    let mut board = Board::new(Kind::Twin, client).unwrap();
    board.load(&image).unwrap();
    assert_eq!(
        tokens(&mut board, &image, gumbel, 12),
        self::expected(&image, gumbel, 12)
    );
}

#[test]
fn an_image_that_is_damaged_in_flash_is_told_and_does_not_run() {
    let (image, _) = names();
    let bytes = image.to_bytes();
    let middle = Slot::of(Object::Image).contents() + bytes.len() / 2;
    // No display, which is no error.
    let damaged = with_flash(&objects(&image), false, |flash| flash[middle] ^= 0x10);
    let Some(twin) = damaged else { return };
    let fault = Fault::Damaged(Object::Image);
    let sentence = format!("annulus: {fault}\n");
    assert_eq!(overheard(&twin, sentence.len()), sentence);
    lights(&twin, MAGENTA);
    let client = session(&twin);
    let greeting = client.greeting();
    assert_eq!((greeting.stayed, greeting.image), (Some(fault), None));
    assert_eq!(greeting.stored_image, Some(Digest::of(&bytes)));
    assert!(greeting.shape().is_ok());
}

#[test]
fn what_is_stored_over_the_wire_is_there_after_a_reset() {
    let Some(twin) = switched_on() else { return };
    let (image, gumbel) = names();
    let mut client = session(&twin);
    for (object, bytes) in objects(&image) {
        client
            .upload(object, Place::Stored, &bytes, |_| ())
            .unwrap();
    }
    drop(client);
    twin.reset().unwrap();
    let expected = text(&image, &expected(&image, gumbel, 40));
    let heard = overheard(&twin, 6);
    assert_eq!(heard, expected[..heard.len()]);
    let mut client = session(&twin);
    client.order(&Request::Erase(Object::Image)).unwrap();
    let greeting = client.greet().unwrap();
    assert!(greeting.stored_image.is_none() && greeting.stored_script.is_some());
}
