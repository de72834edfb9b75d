//! The firmware and its host, end to end: a board whose core is verilated or interpreted, lines
//! from perfect to awful, and hosts that come and go.

use annulus_contract::link::Wire;
use annulus_contract::shape::{of_board, CoreShape};
use annulus_contract::wire::{Digest, Fault, Object, Place, Reboot, Request};
use annulus_firmware_core::{Lights, SpiWire};
use annulus_model::image::Image;
use annulus_model::interpret::Interpreter;
use annulus_runtime::backend::{open, Backend, BackendError, Board, Choice, Kind};
use annulus_runtime::generate::{generate, prompt_tokens, Request as Text};
use annulus_runtime::models;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::serial::{Client, SerialError};
use annulus_sim::link::{SpiDesign, Timing};
use annulus_test_board::{Bench, Cable, Flash, Fpga, Gate, Noise, Slave, Spi, State, TestBoard};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

type Shared<W> = Rc<RefCell<Bench<TestBoard, Gate<W>>>>;

fn pico_ice() -> CoreShape {
    of_board("pico-ice").expect("a board")
}

/// The shipped model, compiled for a core.
fn names(core: &CoreShape) -> Image {
    let opened = models::open(
        Path::new("names"),
        None,
        annulus_runtime::Rotation::Hadamard,
    )
    .expect("it is shipped");
    opened.image(core, None, None).expect("it fits")
}

fn bench<W: Wire>(wire: W, configured: bool) -> (Shared<W>, Arc<Mutex<State>>) {
    let fpga = Fpga::new(configured);
    let board = TestBoard::new(fpga.clone());
    let state = board.state.clone();
    (Bench::new(board, Gate { wire, fpga }).shared(), state)
}

fn interpreted(core: CoreShape) -> Slave {
    Slave::new(Interpreter::new(core))
}

fn client<W: Wire>(bench: &Shared<W>) -> Result<Client<Cable<TestBoard, Gate<W>>>, SerialError> {
    Client::new(Cable(bench.clone()), "/dev/ttyTEST")
}

type OnCable<W> = Board<Cable<TestBoard, Gate<W>>>;

fn backend<W: Wire>(bench: &Shared<W>) -> OnCable<W> {
    let client = client(bench).expect("the board answers");
    Board::new(Kind::Serial, client).expect("a core answers")
}

const SAMPLING: Sampling = Sampling {
    temperature: 0.8,
    seed: 7,
    top_k: None,
    top_p: None,
};

/// What a backend writes: 200 tokens at temperature 0.8.
fn written(backend: &mut dyn Backend, image: &Image) -> Vec<u32> {
    written_while(backend, image, |_| ())
}

/// The same, while something happens that hears how many tokens there are.
fn written_while(backend: &mut dyn Backend, image: &Image, mut at: impl FnMut(usize)) -> Vec<u32> {
    let prompt = prompt_tokens(image, b"").expect("a prompt");
    let text = Text {
        prompt: &prompt,
        passes: 200,
        sampling: SAMPLING,
    };
    let mut tokens = Vec::new();
    let run = generate(backend, image, &text, |token| {
        tokens.push(token);
        at(tokens.len());
        ControlFlow::Continue(())
    });
    run.expect("it writes");
    tokens
}

fn on_cpu(image: &Image) -> Vec<u32> {
    let mut cpu = open(Kind::Cpu, &pico_ice(), None, None).expect("it is there");
    cpu.load(image).expect("it loads");
    written(cpu.as_mut(), image)
}

/// Everything a host asks of a board, compared with the engine on this processor.
fn does_everything<W: Wire>(bench: &Shared<W>, image: &Image) {
    let mut board = backend(bench);
    board.load(image).expect("it loads");
    let tokens = written(&mut board, image);
    assert_eq!(tokens.len(), 200);
    assert_eq!(tokens, on_cpu(image));

    board.self_test().expect("it passes");
    let choice = Choice {
        gumbel: SAMPLING.gumbel(image).expect("a temperature"),
        stop: None,
        restart: None,
    };
    let mut cpu = open(Kind::Cpu, &pico_ice(), None, None).expect("it is there");
    cpu.load(image).expect("it loads");
    let mut both: [&mut dyn Backend; 2] = [&mut board, cpu.as_mut()];
    let heard = both.each_mut().map(|backend| {
        backend.set_choice(choice).expect("it is set");
        backend.reset().expect("it is empty");
        backend.prefill(&[3, 1, 4, 1, 5]).expect("it listens");
        let chosen = backend.step(9).expect("it chooses");
        let logits = backend.logits().expect("it says why");
        // A state that is saved in the middle goes on the same way.
        let saved = backend.save().expect("it saves");
        let mut after = || {
            let mut tokens = vec![];
            let mut keep = |token| {
                tokens.push(token);
                ControlFlow::Continue(())
            };
            assert_eq!(backend.run(2, 40, &mut keep).expect("it runs"), 40);
            backend.restore(&saved).expect("it goes back");
            tokens
        };
        let first = after();
        assert_eq!(first, after());
        (chosen, logits, first)
    });
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn an_interpreted_core() {
    let (bench, state) = bench(interpreted(pico_ice()), true);
    does_everything(&bench, &names(&pico_ice()));
    let meters = client(&bench).unwrap().meters().unwrap();
    assert_eq!((meters.damaged, meters.link_repeated), (0, 0));
    assert!(meters.tokens > 200 && meters.frames > 50 && meters.micros > meters.link_micros);
    let state = state.lock().unwrap();
    assert!(state.fed > 100, "fed {} times", state.fed);
    for lights in [
        Lights::NoImage,
        Lights::Loading,
        Lights::Running,
        Lights::Ready,
    ] {
        assert!(state.lights.contains(&lights), "{lights:?}");
    }
}

/// The firmware's own SPI driver, and the core's Verilog, bit by bit.
fn verilated(core: CoreShape) -> SpiWire<Spi> {
    let design = SpiDesign::build(&core, &mut |_| ()).expect("the core builds");
    SpiWire(Spi(design.instance(Timing::FASTEST)))
}

#[test]
fn the_verilated_core_of_the_pico_ice() {
    let (bench, _) = bench(verilated(pico_ice()), true);
    does_everything(&bench, &names(&pico_ice()));
}

// ---- bad lines ---------------------------------------------------------------

/// A line that flips, drops and doubles one byte in so many, each way.
#[test]
fn a_bad_line_costs_retries_and_no_token() {
    let image = names(&pico_ice());
    let expected = on_cpu(&image);
    for (rate, seeds) in [(1000, 0..25), (200, 25..35)] {
        let (mut damaged, mut repeated) = (0, 0);
        for seed in seeds {
            let (bench, _) = bench(interpreted(pico_ice()), true);
            let mut board = backend(&bench);
            bench.borrow_mut().set_noise(rate, seed);
            board.load(&image).expect("it loads");
            assert_eq!(written(&mut board, &image), expected, "seed {seed}");
            board.self_test().expect("it passes");
            damaged += bench.borrow().damaged();
            repeated += board.client().repeated();
        }
        println!("one in {rate}: {damaged} bytes damaged, {repeated} requests repeated");
        assert!(damaged > 100 && repeated > 20);
    }
}

/// The long form of the above: 1,000 runs at one in 1,000.
#[test]
fn a_thousand_runs_on_a_bad_line() {
    let image = names(&pico_ice());
    let expected = on_cpu(&image);
    let (bench, _) = bench(interpreted(pico_ice()), true);
    let mut board = backend(&bench);
    bench.borrow_mut().set_noise(1000, 99);
    board.load(&image).expect("it loads");
    for run in 0..1000 {
        assert_eq!(written(&mut board, &image), expected, "run {run}");
    }
    println!(
        "{} bytes damaged, {} requests repeated",
        bench.borrow().damaged(),
        board.client().repeated()
    );
}

/// Damage on the way to the core as well: what goes over the wires is checked twice. Bytes are flipped,
/// dropped and doubled, both ways, and what comes after them is out of place.
struct BadWire<W> {
    wire: W,
    noise: Noise,
}

impl<W> BadWire<W> {
    fn new(wire: W, rate: i32, seed: u64) -> Self {
        let noise = Noise::new(rate, seed);
        BadWire { wire, noise }
    }

    fn damage(&mut self, frame: &mut [u8]) {
        let mut arrived = self.noise.pass(frame);
        arrived.resize(frame.len(), 0);
        frame.copy_from_slice(&arrived);
    }
}

impl<W: Wire> Wire for BadWire<W> {
    type Error = W::Error;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), W::Error> {
        self.damage(frame);
        self.wire.exchange(frame)?;
        self.damage(frame);
        Ok(())
    }
}

/// The long form of what follows: 1,000 runs at one byte in 1,000, for each of the three kinds.
#[test]
fn a_thousand_runs_over_bad_wires() {
    let image = names(&pico_ice());
    let expected = on_cpu(&image);
    let wire = BadWire::new(interpreted(pico_ice()), 1000, 17);
    let (bench, _) = bench(wire, true);
    let mut board = backend(&bench);
    board.load(&image).expect("it loads");
    for run in 0..1000 {
        assert_eq!(written(&mut board, &image), expected, "run {run}");
    }
    let meters = board.client().meters().unwrap();
    println!("{} frames to the core repeated", meters.link_repeated);
}

#[test]
fn bad_wires_to_the_core_cost_retries() {
    let image = names(&pico_ice());
    let wire = BadWire::new(interpreted(pico_ice()), 1000, 5);
    let (bench, _) = bench(wire, true);
    does_everything(&bench, &image);
    let meters = client(&bench).unwrap().meters().unwrap();
    assert!(meters.link_repeated > 10, "{meters:?}");
}

// ---- hosts that come and go --------------------------------------------------

#[test]
fn an_upload_goes_on_where_it_was_left() {
    let image = names(&pico_ice());
    let bytes = image.to_bytes();
    let (bench, _) = bench(interpreted(pico_ice()), true);
    for cut in [900, 1700, 1700] {
        let mut host = client(&bench).expect("the board answers");
        let mut first = None;
        bench.borrow_mut().unplugs_after = Some(cut);
        let left = host.upload(Object::Image, Place::Live, &bytes, |have| {
            first.get_or_insert(have);
        });
        assert!(matches!(left, Err(SerialError::Gone { .. })), "{left:?}");
        let mut bench = bench.borrow_mut();
        bench.unplugs_after = None;
        bench.to_board.clear();
        bench.to_host.clear();
    }
    let mut host = client(&bench).expect("the board answers");
    let mut first = None;
    host.upload(Object::Image, Place::Live, &bytes, |have| {
        first.get_or_insert(have);
    })
    .expect("it ends");
    assert!(first.expect("it began") >= 1024, "{first:?}");
    host.order(&Request::SelfTest).expect("it is all there");
    // An image that is there already takes no time at all.
    let mut calls = 0;
    host.upload(Object::Image, Place::Live, &bytes, |_| calls += 1)
        .expect("it is there");
    assert_eq!(calls, 1);
}

#[test]
fn a_host_that_vanishes_in_mid_run_leaves_a_board_for_the_next() {
    let image = names(&pico_ice());
    let (bench, _) = bench(interpreted(pico_ice()), true);
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    bench.borrow_mut().unplugs_after = Some(500);
    let run = board.run(0, 100_000, &mut |_| ControlFlow::Continue(()));
    let error = run.unwrap_err();
    assert!(
        matches!(&error, BackendError::Serial(SerialError::Gone { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("unplugged"));
    bench.borrow_mut().unplugs_after = None;
    // Without a host the board holds its tokens, and the core.
    for _ in 0..5000 {
        bench.borrow_mut().turn();
    }
    let mut next = backend(&bench);
    next.load(&image).unwrap();
    assert_eq!(written(&mut next, &image), on_cpu(&image));
    // The first host comes back and is told.
    let error = board.reset().unwrap_err().to_string();
    assert!(error.contains("another program has taken over"), "{error}");
    assert_eq!(written(&mut next, &image), on_cpu(&image));
}

/// A host that reads slowly, or not at all for a while, loses nothing: the core waits.
#[test]
fn a_slow_host_holds_the_core() {
    let image = names(&pico_ice());
    let (bench, state) = bench(interpreted(pico_ice()), true);
    bench.borrow_mut().room = 40;
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    assert_eq!(written(&mut board, &image), on_cpu(&image));
    let run = |run| Request::Run {
        run,
        token: 0,
        count: 5000,
    };
    board.client().order(&run(1)).unwrap();
    for _ in 0..5000 {
        bench.borrow_mut().turn();
    }
    let busy = board.counters().unwrap_err().to_string();
    assert!(busy.contains("busy with a run"), "{busy}");
    assert_eq!(state.lock().unwrap().lights.last(), Some(&Lights::Held));
    let meters = board.client().meters().unwrap();
    assert!(meters.held_micros > 1000, "{meters:?}");
    board.client().order(&Request::Stop).unwrap();
}

/// The port of a host that reads nothing is full: the board's loop goes round all the same, and what
/// it could not say is said when there is room.
#[test]
fn a_host_that_does_not_read_at_all_stops_no_board_and_loses_nothing() {
    let image = names(&pico_ice());
    let (bench, state) = bench(interpreted(pico_ice()), true);
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    let mut waited = false;
    let tokens = written_while(&mut board, &image, |tokens| {
        if tokens < 20 || std::mem::replace(&mut waited, true) {
            return;
        }
        let mut bench = bench.borrow_mut();
        let room = std::mem::take(&mut bench.room);
        let fed = state.lock().unwrap().fed;
        (0..20_000).for_each(|_| bench.turn());
        assert_eq!(state.lock().unwrap().fed - fed, 20_000);
        bench.room = room;
    });
    assert!(waited);
    assert_eq!(tokens, on_cpu(&image));
}

#[test]
fn of_two_hosts_the_later_has_the_board_and_the_earlier_is_told() {
    let image = names(&pico_ice());
    let (bench, _) = bench(interpreted(pico_ice()), true);
    let mut first = backend(&bench);
    first.load(&image).unwrap();
    let mut second = None;
    let mut heard = Vec::new();
    let run = first.run(0, 100_000, &mut |token| {
        heard.push(token);
        if heard.len() == 10 {
            second = Some(backend(&bench));
        }
        ControlFlow::Continue(())
    });
    let told = |error: BackendError| {
        let error = error.to_string();
        assert!(error.contains("another program has taken over"), "{error}");
    };
    told(run.unwrap_err());
    let mut second = second.expect("the board answers");
    second.load(&image).unwrap();
    assert_eq!(written(&mut second, &image), on_cpu(&image));
    told(first.step(0).unwrap_err());
    // Whoever greets it again has it back.
    first.client().greet().unwrap();
    assert_eq!(written(&mut first, &image), on_cpu(&image));
    told(second.reset().unwrap_err());
}

// ---- what a board refuses ----------------------------------------------------

fn fault<T: std::fmt::Debug>(result: Result<T, SerialError>) -> Fault {
    match result {
        Err(SerialError::Fault { fault, .. }) => fault,
        other => panic!("{other:?} is no fault"),
    }
}

#[test]
fn uploads_that_cannot_be() {
    let core = pico_ice();
    let (bench, state) = bench(interpreted(core), false);
    let mut host = client(&bench).unwrap();
    let image = names(&core).to_bytes();
    assert_eq!(
        fault(host.upload(Object::Image, Place::Live, &image, |_| ())),
        Fault::NotConfigured
    );
    assert_eq!(fault(host.order(&Request::Finish)), Fault::NoUpload);
    let bitstream: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
    state.lock().unwrap().refused = bitstream.last().copied();
    assert_eq!(
        fault(host.upload(Object::Bitstream, Place::Live, &bitstream, |_| ())),
        Fault::Configuration
    );
    state.lock().unwrap().refused = None;
    host.upload(Object::Bitstream, Place::Live, &bitstream, |_| ())
        .unwrap();
    assert_eq!(state.lock().unwrap().configuration, bitstream);
    assert_eq!(host.greet().unwrap().shape(), Ok(core));

    // An image of another core, one that is damaged, and something else.
    let wide = names(&annulus_contract::shape::with_lanes(64).unwrap()).to_bytes();
    let refused = fault(host.upload(Object::Image, Place::Live, &wide, |_| ()));
    assert!(matches!(
        refused,
        Fault::DoesNotFit {
            needs: 8,
            has: 1,
            ..
        }
    ));
    assert!(refused.to_string().contains("needs 8 rows"), "{refused}");
    assert_eq!(
        fault(host.upload(Object::Image, Place::Live, &bitstream, |_| ())),
        Fault::Image
    );
    assert_eq!(fault(host.prompt(&[1])), Fault::NotLoaded);
    let mut damaged = image.clone();
    let weights = damaged.len() / 2;
    damaged[weights] ^= 0x40;
    host.upload(Object::Image, Place::Live, &damaged, |_| ())
        .expect("the upload itself is whole");
    assert!(matches!(
        fault(host.order(&Request::SelfTest)),
        Fault::SelfTestToken { .. } | Fault::SelfTestLogits { .. }
    ));

    host.upload(Object::Image, Place::Live, &image, |_| ())
        .unwrap();
    host.order(&Request::SelfTest).unwrap();
    assert_eq!(fault(host.prompt(&[27, 500])), Fault::Token(27));
    assert_eq!(
        fault(host.ask(&Request::ReadRegisters {
            first: 250,
            count: 9
        })),
        Fault::Request
    );
    assert_eq!(
        fault(host.ask(&Request::Credit {
            run: 5,
            from: 0,
            until: 9
        })),
        Fault::NoRun
    );
    // Flash that loses a bit, and flash that is too small.
    state.lock().unwrap().bad_flash = true;
    assert_eq!(
        fault(host.upload(Object::Image, Place::Stored, &image, |_| ())),
        Fault::Storage
    );
    host.upload(Object::Image, Place::Stored, &image, |_| ())
        .unwrap();
    let digest = host.greet().unwrap().stored_image.expect("it is stored");
    assert_eq!(digest.length as usize, image.len());
    assert_eq!(
        fault(host.upload(Object::Bitstream, Place::Stored, &vec![0; 2 << 20], |_| ())),
        Fault::NoStorage(Object::Bitstream)
    );
    host.order(&Request::Reboot(Reboot::BootLoader)).unwrap();
    assert_eq!(state.lock().unwrap().rebooted, Some(Reboot::BootLoader));
}

/// What a board of this model writes without a host.
fn script(image: &Image) -> Vec<u8> {
    annulus_runtime::script::script(image, b"", &SAMPLING).expect("a board can follow it")
}

/// A board with this in flash, switched on without a host: what its lights end with, and what its
/// screen shows.
fn switched_on(flash: Flash) -> (Shared<Slave>, Option<Lights>, String) {
    let fpga = Fpga::new(false);
    let board = TestBoard::with_flash(fpga.clone(), flash);
    let state = board.state.clone();
    let wire = interpreted(pico_ice());
    let mut bench = Bench::new(board, Gate { wire, fpga });
    state.lock().unwrap().tick = 500;
    bench.dispatcher.start_stored();
    for _ in 0..4000 {
        bench.turn();
    }
    let state = state.lock().unwrap();
    let shown = String::from_utf8(state.shown.0.clone()).expect("text");
    (bench.shared(), state.lights.last().copied(), shown)
}

/// What the board has sent to whoever reads its port.
fn plain(bench: &Shared<Slave>) -> String {
    let bytes = bench.borrow().to_host.iter().copied().collect();
    String::from_utf8(bytes).expect("no frames")
}

#[test]
fn a_board_writes_without_a_host_what_it_would_with_one() {
    let image = names(&pico_ice());
    let stored = |bytes: Vec<u8>| Some((Digest::of(&bytes), bytes));
    let bitstream = stored((0..9000u32).map(|i| i as u8).collect());
    let flash = [bitstream, stored(image.to_bytes()), stored(script(&image))];
    let (bench, lights, shown) = switched_on(flash);
    assert_eq!(lights, Some(Lights::Running));
    let tokenizer = image.tokenizer.as_ref().unwrap();
    let expected: Vec<u8> = on_cpu(&image)
        .iter()
        .flat_map(|&token| tokenizer.decode(None, token).unwrap().to_vec())
        .collect();
    let expected = String::from_utf8(expected).unwrap();
    assert!(shown.len() > 40, "{shown:?}");
    assert_eq!(shown, expected[..shown.len()]);
    assert_eq!(plain(&bench), shown);

    // A host that comes has the board for itself.
    let host = client(&bench).unwrap();
    assert_eq!(host.greeting().stayed, None);
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    assert_eq!(written(&mut board, &image), on_cpu(&image));
    // What is erased is gone.
    let client = board.client();
    client.order(&Request::Erase(Object::Script)).unwrap();
    let greeting = client.greet().unwrap();
    assert_eq!(greeting.stored_script, None);
    assert!(greeting.stored_image.is_some());
}

#[test]
fn a_board_starts_without_a_host() {
    let image = names(&pico_ice());
    let stored = |bytes: Vec<u8>| Some((Digest::of(&bytes), bytes));
    let bitstream = || stored((0..9000u32).map(|i| i as u8).collect());
    let (bench, lights, _) = switched_on([bitstream(), stored(image.to_bytes()), None]);
    assert_eq!(lights, Some(Lights::Ready));
    let host = client(&bench).unwrap();
    let digest = Digest::of(&image.to_bytes());
    assert_eq!(host.greeting().image, Some(digest));
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    assert_eq!(written(&mut board, &image), on_cpu(&image));

    // Flash that has changed since is not put to use.
    let damage = |object: Option<(Digest, Vec<u8>)>| {
        let (digest, mut bytes) = object.expect("it is stored");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 8;
        Some((digest, bytes))
    };
    let whole = [
        bitstream(),
        stored(image.to_bytes()),
        stored(script(&image)),
    ];
    for object in [Object::Bitstream, Object::Image, Object::Script] {
        let mut flash = whole.clone();
        let damaged = &mut flash[object as usize];
        *damaged = damage(damaged.take());
        let (bench, lights, shown) = switched_on(flash);
        assert_eq!(lights, Some(Lights::Fault));
        let sentence = format!("annulus: {}\n", Fault::Damaged(object));
        assert_eq!((shown, plain(&bench)), (sentence.clone(), sentence));
        let host = client(&bench).unwrap();
        let greeting = host.greeting();
        assert_eq!(greeting.stayed, Some(Fault::Damaged(object)));
        let ran = (greeting.bitstream.is_some(), greeting.image.is_some());
        let expected = match object {
            Object::Bitstream => (false, false),
            Object::Image => (true, false),
            Object::Script => (true, true),
        };
        assert_eq!(ran, expected, "{object:?}");
    }
    // A script for another image is none.
    let other = names(&annulus_contract::shape::with_lanes(64).unwrap());
    let flash = [
        bitstream(),
        stored(image.to_bytes()),
        stored(script(&other)),
    ];
    let (bench, ..) = switched_on(flash);
    let stayed = client(&bench).unwrap().greeting().stayed;
    assert_eq!(stayed, Some(Fault::Damaged(Object::Script)));
    let (bench, lights, _) = switched_on([None, None, None]);
    assert_eq!(lights, Some(Lights::NoCore));
    assert_eq!(client(&bench).unwrap().greeting().bitstream, None);
}

#[test]
fn a_core_that_hangs_is_given_up() {
    let slave = interpreted(pico_ice());
    let speed = slave.speed.clone();
    let (bench, state) = bench(slave, true);
    let image = names(&pico_ice());
    let mut board = backend(&bench);
    board.load(&image).unwrap();
    speed.store(0, Ordering::Relaxed);
    state.lock().unwrap().tick = 10_000;
    let error = board.step(0).unwrap_err().to_string();
    assert!(error.contains("the core does not go on"), "{error}");
    let error = board.prefill(&[1, 2, 3]).unwrap_err().to_string();
    assert!(error.contains("the core does not go on"), "{error}");
    assert_eq!(state.lock().unwrap().lights.last(), Some(&Lights::Fault));
    speed.store(1, Ordering::Relaxed);
    assert_eq!(written(&mut board, &image), on_cpu(&image));
}
