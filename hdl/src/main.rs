//! Prints Verilog: of a core (`annulus-hdl LANES|BOARD`), or of a board's top (`annulus-hdl top BOARD`).

use annulus_contract::shape::{BOARDS, SIMULATED};

fn main() {
    let mut words = std::env::args().skip(1);
    let mut wanted = words.next().unwrap_or_default();
    let top = wanted == "top";
    if top {
        wanted = words.next().unwrap_or_default();
    }
    let preset = SIMULATED
        .iter()
        .chain(&BOARDS)
        .find(|preset| preset.name == wanted);
    let verilog = if top {
        annulus_hdl::boards::verilog(&wanted)
    } else {
        preset.and_then(|preset| annulus_hdl::core_verilog(&preset.shape))
    };
    match verilog {
        Some(verilog) => print!("{verilog}"),
        None => {
            eprintln!(
                "usage: annulus-hdl 8|16|48|64|128|pico-ice|ulx3s|tang-nano-20k, or annulus-hdl top BOARD"
            );
            std::process::exit(2);
        }
    }
}
