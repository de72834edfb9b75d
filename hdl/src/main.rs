//! Prints the Verilog of a core: `annulus-hdl LANES|BOARD`.

use annulus_contract::shape::{BOARDS, SIMULATED};

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let preset = SIMULATED
        .iter()
        .chain(&BOARDS)
        .find(|preset| preset.name == wanted);
    match preset.and_then(|preset| annulus_hdl::core_verilog(&preset.shape)) {
        Some(verilog) => print!("{verilog}"),
        None => {
            eprintln!("usage: annulus-hdl 16|48|64|128|ulx3s");
            std::process::exit(2);
        }
    }
}
