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
    for cut in 1..image.steps.len() {
        let mut im = image.clone();
        load(&mut core, &im);
        let mut int = annulus_model::interpret::Interpreter::new(shape);
        int.load(&im);
        for &t in &prefix { core.write(regs::TOKEN_IN, t); assert!(core.run_until_idle(100000)); int.write(regs::TOKEN_IN, t); int.advance(); }
        if cut + 1 < image.steps.len() { im.steps[cut] = Step::new(Kind::End); }
        for (region, words) in im.loads() { if region == region::STEPS {
            core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
            int.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
            for word in words { core.write(regs::MEM_DATA, word); int.write(regs::MEM_DATA, word); } } }
        core.write(regs::TOKEN_IN, token);
        int.write(regs::TOKEN_IN, token); int.advance();
        assert!(core.run_until_idle(100000));
        let x = memory(&mut core, region::RESIDUAL, 0, model.dim / 2);
        int.write(regs::MEM_ADDRESS, regs::mem_address(region::RESIDUAL, 0, 0));
        let want: Vec<u32> = x.iter().map(|_| int.read(regs::MEM_DATA)).collect();
        let k = image.steps[cut-1].kind;
        println!("after {k:?} ({cut}) {} error {}", if want == x { "EQUAL" } else { "DIFFERENT" }, core.read(regs::ERROR));
        if k == Kind::Logits {
            let l: Vec<i32> = memory(&mut core, region::LOGITS, 0, model.vocab).iter().map(|l| *l as i32).collect();
            println!("logits {}", if l == int.logits()[..l.len()] { "EQUAL" } else { "DIFFERENT" });
            println!("{l:?} {:?}", int.logits());
        }
    }
    for (i, l) in trace.layers.iter().enumerate() { println!("layer {i} {l:?}"); }
    let l = image.layout();
    println!("{l:?}");
}
#[test]
fn sweep() {
    let lanes: u32 = std::env::var("LANES").map_or(64, |s| s.parse().unwrap());
    let shape = shape::with_lanes(lanes).unwrap();
    let design = CoreDesign::build(&shape, &mut |_| ()).unwrap();
    for seed in 300..330 {
        let mut core = design.instance();
        let mut rng = Rng::new(seed);
        let s = Shape::random(&mut rng);
        let window = rng.within(1, 24) as usize;
        let sinks = if rng.one_in(2) { rng.within(0, window as i32 - 1) as usize } else { 0 };
        let model = s.model(seed);
        let image = compile(&model, &shape, window, sinks).unwrap();
        load(&mut core, &image);
        let mut reference = Reference::new(&model, window, sinks).unwrap();
        let mut bad = None;
        for i in 0..3 * window + 5 {
            let token = rng.within(0, model.vocab as i32 - 1) as u32;
            let want = reference.step(token).unwrap().to_vec();
            core.write(regs::TOKEN_IN, token);
            assert!(core.run_until_idle(100000));
            core.read(regs::TOKEN_OUT);
            let l: Vec<i32> = memory(&mut core, region::LOGITS, 0, model.vocab).iter().map(|l| *l as i32).collect();
            if l != want { bad = Some(i); break; }
        }
        println!("seed {seed} {bad:?} W {window} S {sinks} {s:?}");
    }
}
