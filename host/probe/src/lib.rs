//! Programming a microcontroller through its debug port (SWD), with any probe that probe-rs knows.
//!
//! A crate of its own because probe-rs brings 200 others, which only this needs.

use probe_rs::flashing::{DownloadOptions, FlashProgress, ProgressEvent};
use probe_rs::probe::{DebugProbeSelector, Probe};
use probe_rs::{Permissions, Session};

pub use probe_rs::probe::list::Lister;

use serde::Serialize;

/// Why a probe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// None is plugged in.
    #[error("no debug probe is plugged in: plug one in and wire SWDIO, SWCLK and ground, or use the boot drive (BOOTSEL) instead")]
    None,
    /// Several are.
    #[error(
        "several debug probes are plugged in: name one with --probe VENDOR:PRODUCT[:SERIAL] ({0})"
    )]
    Several(String),
    /// A name that no probe can have.
    #[error("{0:?} names no debug probe: it is VENDOR:PRODUCT or VENDOR:PRODUCT:SERIAL, in hexadecimal, as `annulus devices` lists them")]
    Name(String),
    /// It cannot be opened.
    #[error("the debug probe cannot be opened: {0}; on Linux its udev rules may be missing (https://probe.rs/docs/getting-started/probe-setup)")]
    Open(String),
    /// No such microcontroller answers.
    #[error("no {chip} answers the debug probe: is the board powered, and are SWDIO, SWCLK and ground connected? ({why})")]
    Attach {
        /// The microcontroller.
        chip: &'static str,
        /// In the library's words.
        why: String,
    },
    /// The flash was not written, or does not read back.
    #[error("the {chip}'s flash was not programmed: {why}")]
    Program {
        /// The microcontroller.
        chip: &'static str,
        /// In the library's words.
        why: String,
    },
}

/// A probe that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeInfo {
    /// What it calls itself.
    pub name: String,
    /// Vendor and product on the USB.
    pub usb: String,
    /// Its serial number there.
    pub serial: Option<String>,
}

/// The probes that are plugged in. None is opened.
pub fn list(lister: &Lister) -> Vec<ProbeInfo> {
    let probes = lister.list_all().into_iter();
    probes
        .map(|probe| ProbeInfo {
            name: probe.identifier,
            usb: format!("{:04x}:{:04x}", probe.vendor_id, probe.product_id),
            serial: probe.serial_number,
        })
        .collect()
}

/// Opens the probe of this name, or without one the only one that is plugged in.
///
/// # Errors
/// If there is none, or it cannot be opened.
pub fn open(lister: &Lister, name: Option<&str>) -> Result<Probe, ProbeError> {
    let selector: DebugProbeSelector = match name {
        Some(name) => name.parse().map_err(|_| ProbeError::Name(name.into()))?,
        None => match &lister.list_all()[..] {
            [] => return Err(ProbeError::None),
            [probe] => probe.into(),
            several => {
                let names = several.iter().map(ToString::to_string);
                return Err(ProbeError::Several(names.collect::<Vec<_>>().join(", ")));
            }
        },
    };
    let opened = lister.open(selector);
    opened.map_err(|error| ProbeError::Open(causes(&error)))
}

/// The microcontrollers that there is firmware for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// RP2040.
    Rp2040,
    /// RP2350.
    Rp2350,
}

impl Chip {
    /// What probe-rs calls it.
    pub fn name(self) -> &'static str {
        match self {
            Chip::Rp2040 => "RP2040",
            Chip::Rp2350 => "RP235x",
        }
    }
}

/// Attaches to a microcontroller.
///
/// # Errors
/// If none of this kind answers.
pub fn attach(probe: Probe, chip: Chip) -> Result<Session, ProbeError> {
    let attached = probe.attach(chip.name(), Permissions::default());
    attached.map_err(|error| ProbeError::Attach {
        chip: chip.name(),
        why: causes(&error),
    })
}

/// Programs firmware, as addresses and bytes, reads it back and starts it. `progress` hears how many bytes of how many have
/// been erased, written and read back.
///
/// # Errors
/// If no such microcontroller answers, or its flash does not take it.
pub fn program<'a>(
    probe: Probe,
    chip: Chip,
    firmware: impl IntoIterator<Item = (u32, &'a [u8])>,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), ProbeError> {
    let mut session = attach(probe, chip)?;
    let chip = chip.name();
    let failed = |error: &dyn std::error::Error| ProbeError::Program {
        chip,
        why: causes(error),
    };
    let mut loader = session.target().flash_loader();
    for (address, bytes) in firmware {
        let added = loader.add_data(address.into(), bytes);
        added.map_err(|error| failed(&error))?;
    }
    let (mut done, mut all) = (0, 0);
    let mut options = DownloadOptions::default();
    options.verify = true;
    options.progress = FlashProgress::new(|event| {
        match event {
            ProgressEvent::AddProgressBar { total, .. } => all += total.unwrap_or(0),
            ProgressEvent::Progress { size, .. } => done += size,
            _ => return,
        }
        progress(done, all);
    });
    let written = loader.commit(&mut session, options);
    written.map_err(|error| failed(&error))?;
    let started = session.core(0).and_then(|mut core| core.reset());
    started.map_err(|error| failed(&error))
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
