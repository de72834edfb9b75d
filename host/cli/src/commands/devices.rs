//! `annulus devices`.

use crate::args::DevicesArgs;
use crate::output::{self, Outcome};
use annulus_runtime::serial::{self, Device, UartBoard};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// Boards of ours.
    boards: Vec<Device>,
    /// What else there is.
    others: Vec<Device>,
    /// Debug probes.
    #[cfg(feature = "probe")]
    probes: Vec<annulus_runtime::flash::probe::ProbeInfo>,
}

pub fn run(args: &DevicesArgs) -> Outcome {
    let (boards, others): (Vec<_>, Vec<_>) = serial::list()
        .into_iter()
        .partition(|device| device.board.is_some());
    #[cfg(feature = "probe")]
    let probes = {
        use annulus_runtime::flash::probe::{list, Lister};
        list(&Lister::new())
    };
    if args.json {
        return output::write_json(&Report {
            boards,
            others,
            #[cfg(feature = "probe")]
            probes,
        });
    }
    let mut text = String::new();
    if boards.is_empty() {
        text += "no Annulus board is plugged in\n";
    }
    for device in boards.iter().chain(&others) {
        text += &line(device);
    }
    #[cfg(feature = "probe")]
    for probe in &probes {
        text += &format!("{:<16}{:<12}{}\n", "debug probe", probe.usb, probe.name);
    }
    output::write(&text)
}

/// A port on a line, and what keeps it from being opened on the next.
fn line(device: &Device) -> String {
    let what = match (&device.board, UartBoard::on(device), &device.product) {
        (Some(board), ..) => format!("Annulus board {board}"),
        (None, Some(board), Some(product)) => {
            let name = board.name;
            format!("{product}: --board {name} drives the core in it, if there is one")
        }
        (None, _, Some(product)) => format!("not a board of ours: {product}"),
        (None, _, None) => "not a board of ours".into(),
    };
    let usb = device.usb.as_deref().unwrap_or("no USB");
    let mut line = format!("{:<16}{usb:<12}{what}", device.port);
    if let Some(serial) = &device.serial {
        line += &format!(", serial number {serial}");
    }
    if let Some(trouble) = &device.trouble {
        line += &format!("\n  {trouble}");
    }
    line + "\n"
}
