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
    for st in &image.steps { println!("{st:?}"); }
    let token = 5u32;
    let mut reference = Reference::new(&model, window, sinks).unwrap();
    reference.set_tracing(true);
    reference.step(token).unwrap();
    let trace = reference.trace().unwrap();
    for cut in 1..image.steps.len() {
        let mut im = image.clone();
        im.steps[cut] = Step::new(Kind::End);
        load(&mut core, &im);
        core.write(regs::TOKEN_IN, token);
        assert!(core.run_until_idle(100000));
        let x: Vec<i32> = memory(&mut core, region::RESIDUAL, 0, model.dim / 2).iter().flat_map(|w| [*w as i16 as i32, (*w >> 16) as i16 as i32]).collect();
        println!("after {:?}: error {} x {:?}", image.steps[cut-1].kind, core.read(regs::ERROR), &x[..8.min(x.len())]);
    }
    for (i, l) in trace.layers.iter().enumerate() {
        println!("layer {i} x {:?} norm {:?} e {:?}\n k {:?}\n v {:?}\n ao {:?}", &l.x[..8.min(l.x.len())], l.norm, l.e, &l.k[..8.min(l.k.len())], &l.v[..8.min(l.v.len())], &l.ao[..8.min(l.ao.len())]);
    }
    load(&mut core, &image);
    core.write(regs::TOKEN_IN, token);
    core.run_until_idle(100000);
    let l = image.layout();
    println!("{l:?}");
}
