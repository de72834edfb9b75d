//! Firmware on its way to a microcontroller: a boot drive, or a file for later.

use super::uf2::{self, Family};
use super::{elf, read, FlashError};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a microcontroller may take to come back as a drive.
const RESTART: Duration = Duration::from_secs(15);

/// The file that every boot drive has.
const INFO: &str = "INFO_UF2.TXT";

/// Firmware as a boot drive takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// UF2 blocks.
    pub blocks: Vec<u8>,
    /// The microcontroller that they are for.
    pub family: Family,
}

/// Reads firmware: UF2, or an ELF for `family`.
///
/// # Errors
/// If it is neither.
pub fn firmware(path: &Path, family: Family) -> Result<Firmware, FlashError> {
    let file = read(path)?;
    let refused = |why: &str| FlashError::Firmware {
        path: path.into(),
        why: why.into(),
    };
    if elf::is_elf(&file) {
        let segments = elf::segments(&file).map_err(refused)?;
        let blocks = uf2::write(&segments, family);
        return Ok(Firmware { blocks, family });
    }
    let family = uf2::family(&file).map_err(refused)?;
    Ok(Firmware {
        blocks: file,
        family,
    })
}

/// Writes firmware to a boot drive, or else to a file of that name. Returns where it went.
///
/// # Errors
/// If the drive is another microcontroller's, or cannot be written.
pub fn write(firmware: &Firmware, to: &Path) -> Result<PathBuf, FlashError> {
    let path = if to.is_dir() {
        check(firmware, to)?;
        to.join("annulus.uf2")
    } else {
        to.into()
    };
    let written = fs::File::create(&path).and_then(|mut file| {
        file.write_all(&firmware.blocks)?;
        // A drive that restarts with its last block may be gone before it can say so.
        file.sync_all().or(Ok(()))
    });
    written.map_err(|error| FlashError::File {
        path: path.clone(),
        error,
    })?;
    Ok(path)
}

/// Whether a folder is the boot drive of the firmware's microcontroller.
fn check(firmware: &Firmware, drive: &Path) -> Result<(), FlashError> {
    let info = fs::read_to_string(drive.join(INFO));
    let info = info.map_err(|_| FlashError::NotADrive(drive.into()))?;
    let is = |family: Family| match family {
        Family::Rp2040 => info.contains("RP2040") || info.contains("RPI-RP2"),
        Family::Rp2350 => info.contains("RP2350"),
    };
    if is(firmware.family) {
        return Ok(());
    }
    Err(FlashError::Firmware {
        path: drive.into(),
        why: format!(
            "it is for the {}, and this is another microcontroller's drive",
            firmware.family.name()
        ),
    })
}

/// The boot drive that is mounted.
///
/// # Errors
/// If there is none.
pub fn find() -> Result<PathBuf, FlashError> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")));
    let volumes = fs::read_dir("/Volumes").into_iter().flatten().flatten();
    let mut drives = mounted.chain(volumes.map(|entry| entry.path()));
    drives
        .find(|path| path.join(INFO).is_file())
        .ok_or(FlashError::NoDrive)
}

/// The boot drive of a microcontroller that has just been told to become one.
///
/// # Errors
/// If it has not, after some seconds.
pub fn appears() -> Result<PathBuf, FlashError> {
    let start = Instant::now();
    loop {
        match find() {
            Err(FlashError::NoDrive) if start.elapsed() < RESTART => {
                std::thread::sleep(Duration::from_millis(200));
            }
            found => return found,
        }
    }
}
