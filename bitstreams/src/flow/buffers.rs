//! Buffers in nets with many ends, which nextpnr would otherwise lead over a Gowin device's
//! segmented wires: it tries that with each of them before all others, and two hundred such nets
//! take it hours. Nets with more than [`MOST`] ends it leaves to the router.

use serde_json::{json, Value};
use std::collections::BTreeMap;

/// So many ends are few enough.
const FEW: usize = 10;
/// The most ends that a net over segmented wires has.
const MOST: usize = 50;

/// An end of a net: cell, pin, and bit of it.
type End = (String, String, usize);

/// Gives each net of yosys' netlist with more than [`FEW`] and at most [`MOST`] ends a LUT for every
/// [`FEW`] of them.
pub fn insert(netlist: &mut Value) {
    let cells = &mut netlist["modules"]["top"]["cells"];
    let (ends, highest) = ends(cells);
    let mut next = highest + 1;
    for (net, ends) in ends {
        if ends.len() <= FEW || ends.len() > MOST {
            continue;
        }
        let share = ends.len().div_ceil(ends.len().div_ceil(FEW));
        for (index, share) in ends.chunks(share).enumerate() {
            cells[format!("buffer_{net}_{index}")] = json!({
                "hide_name": 0,
                "type": "LUT1",
                "parameters": { "INIT": "10" },
                "attributes": {},
                "port_directions": { "F": "output", "I0": "input" },
                "connections": { "F": [next], "I0": [net] },
            });
            for (cell, pin, bit) in share {
                cells[cell]["connections"][pin][*bit] = next.into();
            }
            next += 1;
        }
    }
}

/// The ends of each net, and the highest number of one. A wide multiplexer stands beside what drives
/// it, with no room for a buffer.
fn ends(cells: &Value) -> (BTreeMap<u64, Vec<End>>, u64) {
    let (mut ends, mut highest) = (BTreeMap::<u64, Vec<End>>::new(), 0);
    for (name, cell) in cells.as_object().into_iter().flatten() {
        let kind = cell["type"].as_str().unwrap_or_default();
        for (pin, bits) in cell["connections"].as_object().into_iter().flatten() {
            let bits = bits.as_array().into_iter().flatten().map(Value::as_u64);
            let nets = bits.enumerate().filter_map(|(bit, net)| Some((bit, net?)));
            let taken = kind != "$scopeinfo"
                && cell["port_directions"][pin] == "input"
                && !(kind.starts_with("MUX2_") && matches!(pin.as_str(), "I0" | "I1"));
            for (bit, net) in nets {
                highest = highest.max(net);
                if taken {
                    let end = (name.clone(), pin.clone(), bit);
                    ends.entry(net).or_default().push(end);
                }
            }
        }
    }
    (ends, highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register that drives so many LUTs, and one multiplexer.
    fn netlist(luts: usize) -> Value {
        let mut cells = json!({
            "register": {
                "type": "DFF",
                "port_directions": { "CLK": "input", "D": "input", "Q": "output" },
                "connections": { "CLK": [2], "D": ["0"], "Q": [3] },
            },
            "wide": {
                "type": "MUX2_LUT5",
                "port_directions": { "I0": "input", "I1": "input", "S0": "input", "O": "output" },
                "connections": { "I0": [3], "I1": [3], "S0": ["x"], "O": [4] },
            },
        });
        for i in 0..luts {
            cells[format!("lut_{i}")] = json!({
                "type": "LUT2",
                "port_directions": { "I0": "input", "I1": "input", "F": "output" },
                "connections": { "I0": [3], "I1": [4], "F": [5 + i] },
            });
        }
        json!({ "modules": { "top": { "cells": cells } } })
    }

    #[test]
    fn every_end_has_the_same_driver_behind_a_buffer() {
        for luts in [1, 10, 11, 20, 21, 50, 51] {
            let before = netlist(luts);
            let mut after = before.clone();
            insert(&mut after);
            assert_eq!(after == before, luts <= FEW || luts > MOST, "{luts} ends");
            let cells = after["modules"]["top"]["cells"].clone();
            let buffers: BTreeMap<u64, u64> = cells
                .as_object()
                .expect("cells")
                .values()
                .filter(|cell| cell["type"] == "LUT1")
                .map(|cell| {
                    let [to, from] = ["F", "I0"].map(|pin| &cell["connections"][pin][0]);
                    (to.as_u64().expect("a net"), from.as_u64().expect("a net"))
                })
                .collect();
            let (ends, _) = ends(&cells);
            let few = ends.iter().filter(|(net, _)| buffers.contains_key(net));
            assert!(few.clone().all(|(_, ends)| ends.len() <= FEW));
            assert_eq!(few.count(), buffers.len(), "none is idle");
            // Without its buffers it is what it was.
            let top = after["modules"]["top"]["cells"]
                .as_object_mut()
                .expect("cells");
            top.retain(|name, _| !name.starts_with("buffer_"));
            let nets = top
                .values_mut()
                .filter_map(|cell| cell["connections"].as_object_mut());
            for bit in nets
                .flat_map(|pins| pins.values_mut())
                .flat_map(|bits| bits.as_array_mut())
                .flatten()
            {
                if let Some(from) = bit.as_u64().and_then(|net| buffers.get(&net)) {
                    *bit = (*from).into();
                }
            }
            assert_eq!(after, before, "{luts} ends");
        }
    }
}
