//! The kernels and their host as they are, on a driver that interprets the PTX.

use std::process::Command;

mod emulator;

#[test]
fn child() {
    if !emulator::inside() { return; }
    use annulus_kernels::{device::Device, engine::*, plan::*, program::Program};
    use annulus_model::reference::Reference;
    use annulus_contract::sample::greedy;
    let device = Device::open().unwrap();
    for seed in 0..40u64 {
        let model = annulus_model::random::random_model(seed);
        let (window, sinks) = (1 + seed as usize % 13, 0);
        let program = std::sync::Arc::new(Program::new(&model, window, sinks).unwrap());
        for (mode, blocks, threads) in [(Mode::Persistent, 1, 64), (Mode::Persistent, 3, 32), (Mode::Graph, 2, 32), (Mode::Batched, 1, 64)] {
            let mut e = Engine::new(device.clone(), program.clone(), Plan { mode, streams: 1, blocks, threads }).unwrap();
            let got = e.run(&[3,1,4], 20, 2).unwrap();
            let mut r = Reference::new(&model, window, sinks).unwrap();
            let mut want = vec![]; let mut logits = vec![];
            r.step_silent(3).unwrap(); r.step_silent(1).unwrap(); let mut t = 4;
            for _ in 0..18 { logits = r.step(t).unwrap().to_vec(); t = greedy(&logits); want.push(t); }
            assert_eq!(e.logits(0).unwrap(), logits, "{seed} {mode:?}");
            assert_eq!(got[0].tokens, want, "{seed} {mode:?}");
        }
    }
}
