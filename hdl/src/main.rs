//! Prints the Verilog of a simulated core: `annulus-hdl LANES`.

fn main() {
    let lanes = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let shape = lanes.and_then(annulus_contract::shape::with_lanes);
    match shape.and_then(|shape| annulus_hdl::core_verilog(&shape)) {
        Some(verilog) => print!("{verilog}"),
        None => {
            eprintln!("usage: annulus-hdl 16|48|64|128");
            std::process::exit(2);
        }
    }
}
