use annulus_contract::regs::{self, control};
use annulus_contract::shape;
use annulus_model::compile::compile;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use std::fmt::Write;
#[test]
fn dump() {
    let seed: u64 = std::env::var("SEED").map_or(0, |s| s.parse().unwrap());
    let token: u32 = std::env::var("TOKEN").map_or(37, |s| s.parse().unwrap());
    let preset = shape::with_lanes(8).unwrap();
    let mut rng = Rng::new(seed);
    let mut shape = Shape::random(&mut rng);
    while shape.head_size > 16 {
        shape = Shape::random(&mut rng);
    }
    shape.hadamard = false;
    let window = rng.within(1, 24) as usize;
    let model = shape.model(seed);
    let image = compile(&model, &preset, window, 0).unwrap();
    let mut s = String::new();
    let mut w = |a: u8, d: u32| writeln!(s, "{a} {d}").unwrap();
    w(regs::CONTROL, control::RESET);
    for (region, words) in image.loads() {
        w(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        for word in words {
            w(regs::MEM_DATA, word);
        }
    }
    for (r, v) in image.registers() {
        w(r, v);
    }
    w(regs::TOKEN_IN, token);
    std::fs::write("/tmp/load.txt", s).unwrap();
    let mut reference = Reference::new(&model, window, 0).unwrap();
    reference.set_tracing(true);
    let l = reference.step(token).unwrap().to_vec();
    println!(
        "{shape:?} window {window}\n{:?}\nlogits {l:?}\nsteps {:#?}",
        reference.trace(),
        image.steps
    );
}
