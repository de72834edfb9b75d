//! Yosys' netlist as nextpnr gets it, turned into Verilog that Verilator can swallow.
//!
//! `write_verilog` would write the same cells, but with names that take thirty megabytes, and with
//! buses whose bits drive each other, which look like loops. Here each bit is a wire with a number.

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The module `top` of a file by `write_json`.
pub struct Netlist {
    module: Value,
}

/// A port of the Verilog, and the net that it is.
pub type Port<'a> = (&'a str, &'a str);

impl Netlist {
    /// Reads the file.
    ///
    /// # Panics
    /// If it is none.
    pub fn read(json: &str) -> Self {
        let mut netlist: Value = serde_json::from_str(json).expect("JSON");
        let module = netlist["modules"]["top"].take();
        assert!(module.is_object(), "a module `top`");
        Self { module }
    }

    /// The module `netlist`, whose inputs take the place of what drives these nets, and whose
    /// outputs are others. What is connected to none of its ports stays at zero.
    ///
    /// # Panics
    /// If there is no such net.
    pub fn verilog(&self, inputs: &[Port], outputs: &[Port]) -> String {
        let mut ports = vec![];
        let mut body = String::new();
        let mut taken = BTreeSet::new();
        for &(port, net) in inputs {
            let bits = self.bits(net);
            ports.push(format!("input [{}:0] {port}", bits.len() - 1));
            for (i, bit) in bits.iter().enumerate() {
                writeln!(body, "assign {} = {port}[{i}];", wire(bit)).expect("a string");
                taken.insert(bit.to_string());
            }
        }
        for &(port, net) in outputs {
            let bits = self.bits(net);
            ports.push(format!("output [{}:0] {port}", bits.len() - 1));
            writeln!(body, "assign {port} = {};", wires(bits)).expect("a string");
        }

        let mut used = BTreeSet::new();
        let cells = object(&self.module["cells"]).values();
        // A scope is no cell, but what remains of a module's name.
        for (index, cell) in cells
            .filter(|cell| cell["type"] != "$scopeinfo")
            .enumerate()
        {
            let kind = cell["type"].as_str().expect("a kind");
            let pins = object(&cell["connections"]);
            let drives = |pin: &str| cell["port_directions"][pin] == "output";
            let bits = |pin: &Value| pin.as_array().expect("bits").clone();
            let of = |pin| bits(&pins[pin]);
            let mut outputs = pins.keys().filter(|pin| drives(pin)).flat_map(of);
            if outputs.any(|bit| taken.contains(&bit.to_string())) {
                continue;
            }
            let settings = object(&cell["parameters"]);
            let settings = settings.iter().map(|(name, value)| setting(name, value));
            let settings = settings.collect::<Vec<_>>().join(", ");
            for bit in pins.values().flat_map(bits).filter(Value::is_number) {
                used.insert(bit.as_u64());
            }
            let pins = pins.iter();
            let pins = pins.map(|(pin, bits)| format!(".{pin}({})", wires(list(bits))));
            let pins = pins.collect::<Vec<_>>().join(", ");
            writeln!(body, "{kind} #({settings}) c{index}({pins});").expect("a string");
        }
        let mut verilog = format!("module netlist({});\n", ports.join(", "));
        for bit in used.into_iter().flatten() {
            writeln!(verilog, "wire n{bit};").expect("a string");
        }
        verilog + &body + "endmodule\n"
    }

    /// The bits of a net, the lowest first.
    fn bits(&self, net: &str) -> &[Value] {
        let net = &self.module["netnames"][net];
        assert!(net.is_object(), "no such net in the netlist");
        list(&net["bits"])
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// A bit is the number of a wire, or a string with a constant.
fn wire(bit: &Value) -> String {
    match bit.as_str() {
        Some("1") => "1'b1".into(),
        Some(_) => "1'b0".into(),
        None => format!("n{bit}"),
    }
}

fn wires(bits: &[Value]) -> String {
    let bits: Vec<_> = bits.iter().rev().map(wire).collect();
    format!("{{{}}}", bits.join(", "))
}

/// `.INIT(16'b0110100110010110)`, `.REGSET("SET")`: a number is written in all its bits, and a word
/// that could pass for one has a blank behind it.
fn setting(name: &str, value: &Value) -> String {
    let value = value.as_str().expect("text");
    let is_number = !value.is_empty() && value.chars().all(|c| "01xz".contains(c));
    if is_number {
        format!(".{name}({}'b{value})", value.len())
    } else {
        format!(".{name}(\"{}\")", value.strip_suffix(' ').unwrap_or(value))
    }
}
