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

#[test]
fn cycles() {
    let lanes: u32 = std::env::var("LANES").map_or(64, |s| s.parse().unwrap());
    let window: usize = std::env::var("W").map_or(128, |s| s.parse().unwrap());
    let n: usize = std::env::var("N").map_or(160, |s| s.parse().unwrap());
    let path = std::env::var("MODEL").unwrap();
    let shape = shape::with_lanes(lanes).unwrap();
    let mut core = CoreDesign::build(&shape, &mut |_| ()).unwrap().instance();
    let model = annulus_model::model::Model::open(std::path::Path::new(&path), None).unwrap();
    let image = compile(&model.quant, &shape, window, 0).unwrap();
    load(&mut core, &image);
    let mut reference = Reference::new(&model.quant, window, 0).unwrap();
    let mut token = model.tokenizer.bos();
    let start = std::time::Instant::now();
    let mut total = 0;
    if lanes == 48 { core.write(regs::TEMPERATURE, 1477); core.write(regs::KEY0, 1); }
    for i in 0..n {
        core.write(regs::CONTROL, control::CLEAR_COUNTERS);
        let want = reference.step(token).unwrap().to_vec();
        core.write(regs::TOKEN_IN, token);
        assert!(core.run_until_idle(100000));
        token = core.read(regs::TOKEN_OUT) & 0xffff;
        if i % 10 == 0 {
        let l: Vec<i32> = memory(&mut core, region::LOGITS, 0, model.quant.vocab).iter().map(|l| *l as i32).collect();
        assert_eq!(l, want, "{i}"); }
        let cycles = core.read(regs::CYCLES);
        total += cycles;
        if i < 20 || i + 3 > n {
        let kinds: Vec<String> = Kind::ALL.iter().map(|k| format!("{} {}", k.name(), core.read(regs::KIND_CYCLES + *k as u8))).collect();
        println!("{i} token {token} cycles {cycles} busy {} {}", core.read(regs::BUSY), kinds.join(" ")); }
    }
    println!("total {total} in {:?}", start.elapsed());
}
