//! The firmware and its host, end to end: a board whose core is verilated or interpreted, lines
//! from perfect to awful, and hosts that come and go.

use annulus_contract::link::Wire;
use annulus_contract::shape::{of_board, CoreShape};
use annulus_contract::wire::{Fault, Object, Place, Reboot, Request};
use annulus_firmware_core::{Lights, SpiWire};
use annulus_model::image::Image;
use annulus_model::interpret::Interpreter;
use annulus_runtime::backend::{open, Backend, BackendError, Board, Choice, Kind};
use annulus_runtime::generate::{generate, prompt_tokens, Request as Text};
use annulus_runtime::models;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::serial::{Client, Reply, SerialError};
use annulus_sim::link::{SpiDesign, Timing};
use annulus_test_board::{Bench, Cable, Fpga, Gate, Slave, Spi, State, TestBoard};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
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
    let prompt = prompt_tokens(image, b"").expect("a prompt");
    let text = Text {
        prompt: &prompt,
        passes: 200,
        sampling: SAMPLING,
    };
    let run = generate(backend, image, &text, |_| ControlFlow::Continue(()));
    run.expect("it writes").tokens
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
    assert!(state.fed > 1000);
    for lights in [
        Lights::NoCore,
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
