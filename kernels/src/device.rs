//! A GPU: found, opened, with the kernels loaded.

use crate::layout::MAX_THREADS;
use crate::{nvrtc, source};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The kernels as PTX for any GPU from compute capability 7.5 on, made of today's
/// source by the pinned NVRTC (`tests/ptx.rs` holds it to that).
pub const PTX: &str = include_str!("../ptx/annulus.ptx");
/// The virtual architecture of [`PTX`].
pub const PTX_ARCH: &str = "compute_75";
/// A file of PTX to load in place of the kernels' own.
pub const PTX_VARIABLE: &str = "ANNULUS_CUDA_PTX";

/// Why there is no GPU to run on, or why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// No driver.
    #[error("there is no NVIDIA driver on this machine (libcuda.so.1 was not found): install it, or use --backend cpu")]
    NoDriver,
    /// A driver, but nothing behind it.
    #[error("the NVIDIA driver is there but offers no GPU ({0}): use --backend cpu")]
    NoDevice(String),
    /// A GPU from before the kernels' time.
    #[error("{name} has compute capability {major}.{minor}, and the kernels need 7.5 or later: use --backend cpu")]
    TooOld {
        /// The GPU.
        name: String,
        /// Its compute capability.
        major: i32,
        /// And the digit behind the point.
        minor: i32,
    },
    /// The file of [`PTX_VARIABLE`] cannot be read.
    #[error("cannot read {}, which ANNULUS_CUDA_PTX names: {error}", path.display())]
    Ptx {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The plan that was asked for makes no sense.
    #[error("{0}")]
    Plan(String),
    /// The driver refused something.
    #[error("the NVIDIA driver says {0}")]
    Driver(String),
    /// Blocks waited for each other in vain.
    #[error("the GPU's blocks waited for each other in vain: is something else using the GPU, or the grid too large for it?")]
    Barrier,
}

impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> Self {
        let words = |text: Result<&std::ffi::CStr, DriverError>| {
            text.map_or_else(
                |_| format!("{:?}", error.0),
                |t| t.to_string_lossy().into_owned(),
            )
        };
        CudaError::Driver(format!(
            "{}: {}",
            words(error.error_name()),
            words(error.error_string())
        ))
    }
}

/// What a GPU can do, as far as the kernels ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most threads of a block.
    pub threads: u32,
    /// Most bytes of a block's shared memory.
    pub shared_bytes: usize,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Whether blocks can be launched so that they meet.
    pub cooperative: bool,
    /// Clock of the multiprocessors in kHz, as the driver states it.
    pub clock_khz: u32,
}

/// An open GPU.
pub struct Device {
    pub(crate) stream: Arc<CudaStream>,
    functions: HashMap<&'static str, CudaFunction>,
    name: String,
    limits: Limits,
    code: &'static str,
}

impl Device {
    /// Whether a driver can be loaded at all.
    pub fn has_driver() -> bool {
        // SAFETY: only looks for the library; one that is found is the driver's.
        unsafe { sys::is_culib_present() }
    }

    /// Open the first GPU and load the kernels: made for it by NVRTC where that is
    /// installed, else the PTX that comes with this crate.
    ///
    /// # Errors
    /// If there is no driver or no GPU, or it is too old.
    pub fn open() -> Result<Arc<Self>, CudaError> {
        if !Self::has_driver() {
            return Err(CudaError::NoDriver);
        }
        let context = CudaContext::new(0)
            .map_err(|error| CudaError::NoDevice(CudaError::from(error).to_string()))?;
        // SAFETY: one stream does all the work, in order, so there is nothing to track;
        // capturing a graph asks for that.
        unsafe { context.disable_event_tracking() };
        let name = context.name()?;
        let (major, minor) = context.compute_capability()?;
        if (major, minor) < (7, 5) {
            return Err(CudaError::TooOld { name, major, minor });
        }
        let attribute = |attribute| context.attribute(attribute).map(|value| value.max(0));
        let threads = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?;
        let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let limits = Limits {
            threads: (threads as u32).min(MAX_THREADS),
            shared_bytes: shared as usize,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
            cooperative: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0,
            clock_khz: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? as u32,
        };
        let (image, code) = image(major, minor)?;
        let module = context.load_module(image)?;
        let mut functions = HashMap::new();
        for name in source::KERNELS {
            functions.insert(name, module.load_function(name)?);
        }
        Ok(Arc::new(Device {
            stream: context.new_stream()?,
            functions,
            name,
            limits,
            code,
        }))
    }

    /// What the driver calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can do.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether it is the interpreter that the tests use, whose times mean nothing.
    pub fn is_emulated(&self) -> bool {
        self.name.contains("(no GPU)")
    }

    /// Where the kernels' code came from: `nvrtc`, `ptx` or `file`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// A kernel, allowed this much shared memory.
    pub(crate) fn kernel(&self, name: &str, shared: usize) -> Result<&CudaFunction, CudaError> {
        let function = &self.functions[name];
        let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, shared as i32)?;
        Ok(function)
    }
}

/// The kernels' code for a GPU, and where it comes from.
fn image(major: i32, minor: i32) -> Result<(Ptx, &'static str), CudaError> {
    if let Some(path) = std::env::var_os(PTX_VARIABLE).map(PathBuf::from) {
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| CudaError::Ptx { path, error })?;
        return Ok((Ptx::from_src(text), "file"));
    }
    // NVRTC may be older than the GPU; then the driver translates the PTX.
    Ok(
        match nvrtc::cubin(&source::source(), &format!("sm_{major}{minor}")) {
            Ok(cubin) => (Ptx::from_binary(cubin), "nvrtc"),
            Err(_) => (Ptx::from_src(PTX), "ptx"),
        },
    )
}
