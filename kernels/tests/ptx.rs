//! The kernels through NVIDIA's compiler: the PTX that comes with the crate is made
//! of today's source, and no kernel spills or needs more registers than the table.

use annulus_kernels::{device, nvrtc, source};

/// PTX of today's source. Its header asks for the language of the compiler; the
/// kernels need nothing that version 7.0 lacks, and with it older drivers take them.
fn today() -> Option<String> {
    if !nvrtc::is_present() {
        eprintln!("SKIPPED: this test needs NVRTC: ./x test brings it, see tools/cuda.txt");
        return None;
    }
    Some(nvrtc::ptx(&source::source(), device::PTX_ARCH).expect("the kernels compile"))
}

#[test]
fn checked_in_ptx_is_of_todays_source() {
    let Some(ptx) = today() else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ptx/annulus.ptx");
    if std::env::var_os("ANNULUS_BLESS").is_some() {
        std::fs::write(path, &ptx).expect("a file of ours");
    }
    let there = std::fs::read_to_string(path).expect("a file of ours");
    assert!(
        there == ptx,
        "kernels/ptx/annulus.ptx is not of today's source: run this test with ANNULUS_BLESS=1"
    );
}
