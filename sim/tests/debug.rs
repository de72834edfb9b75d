use annulus_contract::regs::{self, control, region};
use annulus_contract::{shape, step::{Step, Kind}};
use annulus_model::compile::compile;
use annulus_model::image::Image;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use annulus_sim::core::{CoreDesign, SimCore};
fn load(core: &mut SimCore, image: &Image) {
    core.write(regs::CONTROL, control::RESET);
    core.tick();
    for (region, words) in image.loads() {
        core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        for word in words { core.write(regs::MEM_DATA, word); }
    }
    for (register, value) in image.registers() { core.write(register, value); }
}
fn memory(core: &mut SimCore, region: u32, index: u32, count: usize) -> Vec<u32> {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, index, 0));
    (0..count).map(|_| core.read(regs::MEM_DATA)).collect()
}
#[test]
fn debug() {
    let lanes: u32 = std::env::var("LANES").map_or(64, |s| s.parse().unwrap());
    let seed: u64 = std::env::var("SEED").map_or(0, |s| s.parse().unwrap());
    let shape = shape::with_lanes(lanes).unwrap();
    let mut core = CoreDesign::build(&shape, &mut |_| ()).unwrap().instance();
    let mut rng = Rng::new(seed);
    let s = Shape::random(&mut rng);
    let window = rng.within(1, 24) as usize;
    let sinks = if rng.one_in(2) { rng.within(0, window as i32 - 1) as usize } else { 0 };
    println!("{s:?} W {window} S {sinks}");
    let model = s.model(seed);
    let image = compile(&model, &shape, window, sinks).unwrap();

    let prefix: Vec<u32> = std::env::var("PREFIX").map_or(vec![], |s| s.split(',').map(|t| t.parse().unwrap()).collect());
    let token: u32 = std::env::var("TOKEN").map_or(5, |s| s.parse().unwrap());
    let mut reference = Reference::new(&model, window, sinks).unwrap();
    reference.set_tracing(true);
    for &t in &prefix { reference.step(t).unwrap(); }
    reference.step(token).unwrap();
    let trace = reference.trace().unwrap().clone();
    let mut layer = 0;
    for cut in 1..image.steps.len() {
        let mut im = image.clone();
        load(&mut core, &im);
        for &t in &prefix { core.write(regs::TOKEN_IN, t); assert!(core.run_until_idle(100000)); }
        im.steps[cut] = Step::new(Kind::End);
        for (region, words) in im.loads() { if region == region::STEPS {
            core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
            for word in words { core.write(regs::MEM_DATA, word); } } }
        core.write(regs::TOKEN_IN, token);
        assert!(core.run_until_idle(100000));
        let x: Vec<i32> = memory(&mut core, region::RESIDUAL, 0, model.dim / 2).iter().flat_map(|w| [*w as i16 as i32, (*w >> 16) as i16 as i32]).collect();
        let k = image.steps[cut-1].kind;
        if image.steps[cut].kind == Kind::Value || image.steps[cut].kind == Kind::Logits {
            let want = if layer < trace.layers.len() { &trace.layers[layer].x } else { &trace.x_final };
            println!("after {k:?} ({cut}) {} error {}", if *want == x { "EQUAL" } else { "DIFFERENT" }, core.read(regs::ERROR));
            if *want != x { println!("got {x:?}\nwant {want:?}"); }
            layer += 1;
        } else if k != Kind::Scores { println!("  then {k:?}: {:?}", x); }
    }
    for (i, l) in trace.layers.iter().enumerate() { println!("layer {i} {l:?}"); }
    let l = image.layout();
    println!("{l:?}");
}
