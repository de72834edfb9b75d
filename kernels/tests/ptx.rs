//! The kernels through NVIDIA's compiler: the PTX that comes with the crate is of
//! today's source, and no kernel spills or needs more registers than the table says.

mod cubin;

use annulus_kernels::{device, nvrtc, source};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The GPUs that the kernels are compiled for.
const GPUS: [&str; 6] = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120"];
/// Makes a test write what it finds instead of comparing.
const BLESS: &str = "ANNULUS_BLESS";

/// Whether NVRTC is there; loudly, if not.
fn compiler() -> bool {
    if !nvrtc::is_present() {
        eprintln!("SKIPPED: this test needs NVRTC: ./x test brings it (tools/cuda.txt)");
    }
    nvrtc::is_present()
}

fn of_today(file: &str, found: &str) {
    let path = format!("{}/ptx/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, found).expect("a file of ours");
    }
    let there = std::fs::read_to_string(&path).expect("a file of ours");
    if there != found {
        let (line, (a, b)) = there
            .lines()
            .zip(found.lines())
            .enumerate()
            .find(|(_, (a, b))| a != b)
            .unwrap_or((0, ("its end", "another end")));
        panic!(
            "{file} is not of today's source: line {} is {a:?}, but {b:?} today; run this test with {BLESS}=1",
            line + 1
        );
    }
}

#[test]
fn checked_in_ptx_is_of_todays_source() {
    if compiler() {
        let ptx = nvrtc::portable_ptx(&source::source(), device::PTX_ARCH);
        of_today("annulus.ptx", &ptx.expect("the kernels compile"));
    }
}

#[test]
fn registers_are_as_in_the_table_and_nothing_spills() {
    if !compiler() {
        return;
    }
    let source = source::source();
    let mut table: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for gpu in GPUS {
        let code = nvrtc::cubin(&source, gpu).expect("the kernels compile");
        let kernels = cubin::resources(&code);
        for name in source::KERNELS {
            let needs = kernels
                .get(name)
                .unwrap_or_else(|| panic!("{name} on {gpu}"));
            assert_eq!(needs.stack, 0, "{name} spills on {gpu}");
            table.entry(name.into()).or_default().push(needs.registers);
        }
    }
    let mut text = format!(
        "{:<24}{}\n",
        "registers",
        GPUS.map(|g| format!("{g:>8}")).concat()
    );
    for (name, registers) in table {
        let numbers: String = registers.iter().map(|r| format!("{r:>8}")).collect();
        let _ = writeln!(text, "{name:<24}{numbers}");
    }
    of_today("registers.txt", &text);
}

#[test]
fn a_wrong_source_is_refused_in_words() {
    if compiler() {
        let wrong = source::source().replace("warp_sum(sum)", "warp_summ(sum)");
        let refused = nvrtc::ptx(&wrong, device::PTX_ARCH)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("warp_summ"), "{refused}");
    }
}
