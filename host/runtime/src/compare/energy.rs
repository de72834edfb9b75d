//! Energy, where a meter exists: RAPL for the processor, NVML for the GPU.

use libloading::{Library, Symbol};
use serde::Serialize;
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::fs;
use std::path::Path;

/// Where Linux shows RAPL's counter of the first processor package, in microjoules.
const RAPL: &str = "/sys/class/powercap/intel-rapl:0";
/// NVIDIA's library of meters.
const NVML: &str = "libnvidia-ml.so.1";

/// Energy of a token, or why it is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Energy {
    /// It is known.
    Known {
        /// Joules of a token.
        joules_per_token: f64,
        /// Which meter, and what it counts.
        source: String,
    },
    /// It is not.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Energy {
    /// Not known, and why.
    pub fn unknown(why: &str) -> Self {
        Energy::Unknown { why: why.into() }
    }
}

/// A counter of joules.
pub enum Meter {
    /// The processor package, all of it.
    Rapl,
    /// The GPU's board.
    Nvml(Nvml),
    /// None, and why.
    None(&'static str),
}

impl Meter {
    /// The processor's.
    pub fn processor() -> Self {
        if !Path::new(RAPL).exists() {
            Meter::None("this machine shows no RAPL counter")
        } else if microjoules().is_none() {
            Meter::None("RAPL's counter may be read by root only")
        } else {
            Meter::Rapl
        }
    }

    /// The GPU's.
    pub fn gpu() -> Self {
        match Nvml::open() {
            Some(nvml) if nvml.joules().is_some() => Meter::Nvml(nvml),
            Some(_) => Meter::None("this GPU has no energy counter (NVML)"),
            None => Meter::None("NVML was not found"),
        }
    }

    /// The counter as it is.
    pub fn start(&self) -> Option<f64> {
        match self {
            Meter::Rapl => microjoules().map(|energy| energy / 1e6),
            Meter::Nvml(nvml) => nvml.joules(),
            Meter::None(_) => None,
        }
    }

    /// Energy of each of so many tokens since [`Meter::start`].
    pub fn energy(&self, start: &Option<f64>, tokens: usize) -> Energy {
        let source = match self {
            Meter::Rapl => "RAPL, processor package, what it uses idle included",
            Meter::Nvml(_) => "NVML, GPU board, what it uses idle included",
            Meter::None(why) => return Energy::unknown(why),
        };
        match start.zip(self.start()) {
            // A counter that has wrapped or not moved says nothing.
            Some((start, end)) if end > start => Energy::Known {
                joules_per_token: (end - start) / tokens as f64,
                source: source.into(),
            },
            _ => Energy::unknown("the runs were too short for the meter: give a larger -n"),
        }
    }
}

fn microjoules() -> Option<f64> {
    let text = fs::read_to_string(Path::new(RAPL).join("energy_uj")).ok()?;
    text.trim().parse().ok()
}

/// NVIDIA's library of meters, with its first device.
pub struct Nvml {
    library: Library,
    device: *mut c_void,
}

impl Nvml {
    fn open() -> Option<Self> {
        // SAFETY: a library of NVIDIA's, used as its manual says: initialized first,
        // the handle kept no longer than the library.
        unsafe {
            let library = Library::new(NVML).ok()?;
            let mut device = std::ptr::null_mut();
            {
                let init: Symbol<unsafe extern "C" fn() -> c_int> =
                    library.get(b"nvmlInit_v2").ok()?;
                let handle: Symbol<unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int> =
                    library.get(b"nvmlDeviceGetHandleByIndex_v2").ok()?;
                if init() != 0 || handle(0, &mut device) != 0 {
                    return None;
                }
            }
            Some(Nvml { library, device })
        }
    }

    /// Joules since the driver was loaded.
    fn joules(&self) -> Option<f64> {
        type Get = unsafe extern "C" fn(*mut c_void, *mut c_ulonglong) -> c_int;
        // SAFETY: as above; the function writes one number.
        unsafe {
            let get: Symbol<Get> = self
                .library
                .get(b"nvmlDeviceGetTotalEnergyConsumption")
                .ok()?;
            let mut millijoules = 0;
            (get(self.device, &mut millijoules) == 0).then(|| millijoules as f64 / 1e3)
        }
    }
}
