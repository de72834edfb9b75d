//! NVRTC, where it is installed: source in, PTX or a cubin out.

use cudarc::nvrtc::sys;
use std::ffi::{c_char, c_int, CStr, CString};

/// Why NVRTC gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NvrtcError {
    /// The library is not on this machine.
    #[error("libnvrtc was not found")]
    Absent,
    /// It refused; with its own words.
    #[error("NVRTC refused ({code}): {log}")]
    Refused {
        /// Its code.
        code: String,
        /// Its log.
        log: String,
    },
}

/// Whether NVRTC can be loaded.
pub fn is_present() -> bool {
    // SAFETY: only looks for the library; one that is found is NVIDIA's.
    unsafe { sys::is_culib_present() }
}

/// Compile to PTX for a virtual architecture such as `compute_75`.
///
/// # Errors
/// If NVRTC is absent or the source is wrong.
pub fn ptx(source: &str, arch: &str) -> Result<String, NvrtcError> {
    let ptx = compile(source, arch, sys::nvrtcGetPTXSize, sys::nvrtcGetPTX)?;
    let text = ptx.split(|&b| b == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// As [`ptx`], in the language of CUDA 11.0, so that drivers from then on take it.
/// The compiler's header names its own, newer language; the kernels use nothing of
/// it, which NVIDIA's assembler confirmed for every GPU of the gates.
///
/// # Errors
/// As [`ptx`].
pub fn portable_ptx(source: &str, arch: &str) -> Result<String, NvrtcError> {
    let lower = |line: &str| {
        if line.starts_with(".version ") {
            ".version 7.0\n".into()
        } else {
            format!("{line}\n")
        }
    };
    Ok(ptx(source, arch)?.lines().map(lower).collect())
}

/// Compile to machine code for a real architecture such as `sm_90`.
///
/// # Errors
/// If NVRTC is absent or the source is wrong.
pub fn cubin(source: &str, arch: &str) -> Result<Vec<u8>, NvrtcError> {
    compile(source, arch, sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN)
}

type Size = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
type Get = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;

/// A program that is destroyed whatever happens.
struct Compilation(sys::nvrtcProgram);

impl Drop for Compilation {
    fn drop(&mut self) {
        // SAFETY: made by nvrtcCreateProgram and destroyed once.
        unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
    }
}

fn compile(source: &str, arch: &str, size: Size, get: Get) -> Result<Vec<u8>, NvrtcError> {
    if !is_present() {
        return Err(NvrtcError::Absent);
    }
    let text = |s: &str| CString::new(s).unwrap_or_default();
    let (source, arch) = (text(source), text(&format!("--gpu-architecture={arch}")));
    let options = [arch.as_ptr(), c"--std=c++17".as_ptr()];
    // SAFETY: pointers are to live, terminated strings; buffers have the size that
    // NVRTC asked for; every handle is the one that NVRTC gave.
    unsafe {
        let mut program = std::ptr::null_mut();
        let (none, name) = (std::ptr::null(), c"annulus.cu".as_ptr());
        let made = sys::nvrtcCreateProgram(&mut program, source.as_ptr(), name, 0, none, none);
        check(made, String::new)?;
        let program = Compilation(program);
        let done = sys::nvrtcCompileProgram(program.0, options.len() as c_int, options.as_ptr());
        check(done, || log(program.0))?;
        let mut bytes = 0;
        check(size(program.0, &mut bytes), String::new)?;
        let mut result = vec![0u8; bytes];
        check(get(program.0, result.as_mut_ptr().cast()), String::new)?;
        Ok(result)
    }
}

fn check(result: sys::nvrtcResult, log: impl FnOnce() -> String) -> Result<(), NvrtcError> {
    if result == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    Err(NvrtcError::Refused {
        code: format!("{result:?}"),
        log: log(),
    })
}

/// What NVRTC had to say.
unsafe fn log(program: sys::nvrtcProgram) -> String {
    let mut bytes = 0;
    // SAFETY: as in `compile`.
    unsafe {
        if sys::nvrtcGetProgramLogSize(program, &mut bytes) != sys::nvrtcResult::NVRTC_SUCCESS {
            return String::new();
        }
        let mut text = vec![0u8; bytes.max(1)];
        sys::nvrtcGetProgramLog(program, text.as_mut_ptr().cast());
        CStr::from_bytes_until_nul(&text)
            .map_or(String::new(), |c| c.to_string_lossy().into_owned())
    }
}
