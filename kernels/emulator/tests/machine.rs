//! The machine itself: what it computes, and what it refuses as a GPU would.

use annulus_emulator::machine::{run, Fault, Random, Shape};
use annulus_emulator::memory::Memory;
use annulus_emulator::ptx::{parse, Module};

/// A kernel with one parameter, an address in `%rd1`, around these lines.
fn module(lines: &str) -> Module {
    let text = format!(
        ".version 7.0\n.target sm_75\n.visible .entry test(\n.param .u64 test_param_0\n)\n{{\n\
         .reg .b32 %r<20>;\nld.param.u64 %rd1, [test_param_0];\nmov.u32 %r1, %tid.x;\n\
         mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;\n{lines}\nret;\n}}\n"
    );
    parse(&text, |_| 0).expect("PTX that the machine knows")
}

/// Runs the lines with a word for each thread; the words.
fn words(lines: &str, threads: u32) -> Result<Vec<u32>, Fault> {
    let module = module(lines);
    let mut memory = Memory::default();
    let bytes = 4 * threads as usize;
    let address = memory.allocate(bytes);
    let shape = Shape {
        blocks: 1,
        threads,
        shared: 4 * threads as usize,
        cooperative: false,
    };
    for seed in 1..6 {
        let kernel = &module.kernels["test"];
        run(kernel, &[address], shape, &memory, &mut Random::new(seed))?;
    }
    assert!(memory.holds(address, bytes));
    // SAFETY: the memory was allocated above with this size, and is still there.
    let found = unsafe { std::slice::from_raw_parts(address as *const u32, threads as usize) };
    Ok(found.to_vec())
}

/// What the lines leave in `%r2`, the same for every thread.
fn value(lines: &str) -> u32 {
    let found = words(&format!("{lines}\nst.global.u32 [%rd3], %r2;"), 32).expect("no fault");
    assert!(found.iter().all(|&word| word == found[0]), "{found:?}");
    found[0]
}

#[test]
fn arithmetic() {
    // 0x80 is -128 signed, and 128 not.
    let vectors = "mov.u32 %r3, 0x01ff8002U;\nmov.u32 %r4, 0x03020101U;\n";
    assert_eq!(
        value(&format!("{vectors}dp4a.s32.s32 %r2, %r3, %r4, 1000;")) as i32,
        2 - 128 - 2 + 3 + 1000
    );
    assert_eq!(
        value(&format!("{vectors}dp4a.u32.u32 %r2, %r3, %r4, 0;")),
        2 + 128 + 510 + 3
    );
    assert_eq!(value("mov.u32 %r3, -7;\nshr.s32 %r2, %r3, 1;") as i32, -4);
    assert_eq!(value("mov.u32 %r3, -1;\nshr.u32 %r2, %r3, 40;"), 0);
    assert_eq!(value("mov.u32 %r3, -1;\nshr.s32 %r2, %r3, 40;"), u32::MAX);
    assert_eq!(value("mov.u32 %r3, 1;\nclz.b32 %r2, %r3;"), 31);
    assert_eq!(
        value("mov.u32 %r3, 0x12345678U;\nshf.l.wrap.b32 %r2, %r3, %r3, 8;"),
        0x3456_7812
    );
    assert_eq!(
        value("mov.u32 %r3, 0x12345678U;\nprmt.b32 %r2, %r3, 0, 0x0123U;"),
        0x7856_3412
    );
    assert_eq!(
        value("mov.u32 %r3, 0xf0U;\nbfe.s32 %r2, %r3, 4, 4;"),
        u32::MAX
    );
    assert_eq!(
        value("mov.u32 %r3, 0xffU;\nbfi.b32 %r2, %r3, 0, 4, 4;"),
        0xf0
    );
    assert_eq!(
        value("mov.u64 %rd4, -1;\nsetp.gt.u64 %p1, %rd4, 5;\nselp.u32 %r2, 1, 2, %p1;"),
        1
    );
    assert_eq!(
        value("mov.u64 %rd4, -1;\nsetp.gt.s64 %p1, %rd4, 5;\nselp.u32 %r2, 1, 2, %p1;"),
        2
    );
    assert_eq!(
        value("mov.b64 %rd4, {5, 7};\nmov.b64 {%r3, %r4}, %rd4;\nsub.s32 %r2, %r4, %r3;"),
        2
    );
    assert_eq!(value("mov.u32 %r3, -9;\ndiv.s32 %r2, %r3, 2;") as i32, -4);
}

#[test]
fn threads_meet() {
    // Each writes its number to shared memory and reads its neighbor's.
    let ring = "mov.u32 %r5, %ntid.x;\nshl.b32 %r3, %r1, 2;\nst.shared.u32 [%r3], %r1;\n\
                bar.sync 0;\nadd.s32 %r4, %r1, 1;\nrem.u32 %r4, %r4, %r5;\nshl.b32 %r4, %r4, 2;\n\
                ld.shared.u32 %r2, [%r4];\nst.global.u32 [%rd3], %r2;";
    let expected: Vec<u32> = (0..96).map(|i| (i + 1) % 96).collect();
    assert_eq!(words(ring, 96), Ok(expected.clone()));
    // Without the barrier some order shows it.
    assert_ne!(words(&ring.replace("bar.sync 0;\n", ""), 96), Ok(expected));
    let exchange = "shfl.sync.bfly.b32 %r2|%p1, %r1, 4, 31, -1;\nst.global.u32 [%rd3], %r2;";
    assert_eq!(words(exchange, 32), Ok((0..32).map(|i| i ^ 4).collect()));
}

#[test]
fn faults_stop_a_launch() {
    let fault = |lines: &str| words(lines, 64).unwrap_err();
    assert!(matches!(
        fault("st.global.u32 [%rd3+4], %r1;"),
        Fault::Bounds { bytes: 4, .. }
    ));
    assert!(matches!(
        fault("ld.global.u32 %r2, [%rd1+2];"),
        Fault::Alignment { .. }
    ));
    assert!(matches!(
        fault("ld.shared.u32 %r2, [256];"),
        Fault::Bounds { .. }
    ));
    assert!(matches!(
        fault("mov.u32 %r3, 0;\ndiv.u32 %r2, %r1, %r3;"),
        Fault::Division(_)
    ));
    let divergent = "setp.eq.s32 %p1, %r1, 0;\n@%p1 bra $END;\nbar.sync 0;\n$END:";
    assert_eq!(fault(divergent), Fault::Deadlock);
    let partial = "setp.eq.s32 %p1, %r1, 0;\n@%p1 bra $END;\n\
                   shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, -1;\n$END:";
    assert_eq!(fault(partial), Fault::Deadlock);
}

#[test]
fn unknown_language_is_named_with_its_line() {
    for line in ["add.f32 %f1, %f2, %f3;", "tex.1d.v4.s32.s32 {%r1}, [%r2];"] {
        let text =
            format!(".visible .entry test(\n.param .u64 test_param_0\n)\n{{\n{line}\nret;\n}}\n");
        let error = parse(&text, |_| 0).expect_err("it is refused").to_string();
        let name = line.split(' ').next().unwrap_or_default();
        assert!(error.contains("line 5") && error.contains(name), "{error}");
    }
}

#[test]
fn memory_knows_its_bounds() {
    let mut memory = Memory::default();
    let address = memory.allocate(10);
    assert!(memory.holds(address, 10) && memory.holds(address + 9, 1));
    assert!(!memory.holds(address, 11) && !memory.holds(address - 1, 1));
    assert!(memory.free(address) && !memory.free(address));
    assert!(!memory.holds(address, 1));
}
