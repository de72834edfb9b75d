//! The driver's interface: the functions that cudarc calls, under their C names.
//!
//! Everything runs at once and in order, so streams and events need no state but
//! for the capture of a graph.

// The names are CUDA's, and what a function may be given is in CUDA's manual: the
// pointers that its callers must keep good are the same here.
#![allow(non_snake_case, clippy::missing_safety_doc)]

use crate::machine::{run, Random, Shape};
use crate::memory::Memory;
use crate::ptx::{parse, Kernel, Module};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

type Status = c_int;
type Handle = *mut c_void;

const OK: Status = 0;
const INVALID_VALUE: Status = 1;
const INVALID_DEVICE: Status = 101;
const INVALID_PTX: Status = 218;
const NOT_FOUND: Status = 500;
const LAUNCH_OUT_OF_RESOURCES: Status = 701;
const LAUNCH_FAILED: Status = 719;
const TOO_LARGE: Status = 720;
const CAPTURE_INVALIDATED: Status = 901;

/// Shared memory of a block, without and with a kernel's consent.
const SHARED: (usize, usize) = (48 << 10, 99 << 10);
/// Multiprocessors, and the blocks that one has at a time.
const MULTIPROCESSORS: (c_int, c_int) = (4, 2);
/// What the device says of itself: CUDA's number of an attribute, and the answer.
const ATTRIBUTES: [(c_int, c_int); 9] = [
    (1, 128),               // threads of a block
    (8, SHARED.0 as c_int), // shared memory of a block
    (10, 32),               // lanes of a warp
    (13, 1_000_000),        // clock in kHz
    (16, MULTIPROCESSORS.0),
    (75, 8), // compute capability 8.6
    (76, 6),
    (95, 1), // cooperative launches
    (97, SHARED.1 as c_int),
];

/// What a launch was asked for.
#[derive(Clone)]
struct Launch {
    kernel: Arc<Kernel>,
    parameters: Vec<u64>,
    shape: Shape,
}

struct Driver {
    memory: Memory,
    random: Random,
    functions: Vec<Function>,
    modules: Vec<Module>,
    graphs: Vec<Vec<Launch>>,
    /// Launches of a stream that is being captured.
    capture: Option<Vec<Launch>>,
}

#[derive(Clone)]
struct Function {
    kernel: Arc<Kernel>,
    shared_limit: usize,
}

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| {
    let seed = std::env::var("ANNULUS_EMULATOR_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    Mutex::new(Driver {
        memory: Memory::default(),
        random: Random::new(seed),
        functions: vec![],
        modules: vec![],
        graphs: vec![],
        capture: None,
    })
});

fn driver() -> MutexGuard<'static, Driver> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles are places in a list, counted from 1.
fn handle(index: usize) -> Handle {
    (index + 1) as Handle
}

fn index(handle: Handle) -> usize {
    (handle as usize).wrapping_sub(1)
}

impl Driver {
    fn launch(&mut self, launch: &Launch) -> Status {
        let Launch {
            kernel,
            parameters,
            shape,
        } = launch;
        match run(kernel, parameters, *shape, &self.memory, &mut self.random) {
            Ok(_) => OK,
            Err(fault) => {
                eprintln!("emulator: {}: {fault}", kernel.name);
                LAUNCH_FAILED
            }
        }
    }
}

/// Functions that have nothing to do.
macro_rules! nothing {
    ($($name:ident($($ty:ty),*);)*) => {
        $(
            /// Nothing to do: everything is done at once.
            #[no_mangle]
            pub extern "C" fn $name($(_: $ty),*) -> Status {
                OK
            }
        )*
    };
}

nothing! {
    cuInit(c_uint);
    cuDevicePrimaryCtxRelease_v2(c_int);
    cuCtxSetCurrent(Handle);
    cuCtxSynchronize();
    cuStreamDestroy_v2(Handle);
    cuStreamSynchronize(Handle);
    cuStreamWaitEvent(Handle, Handle, c_uint);
    cuModuleUnload(Handle);
    cuGraphDestroy(Handle);
    cuGraphExecDestroy(Handle);
    cuGraphUpload(Handle, Handle);
}

/// There are no tables of hidden functions.
#[no_mangle]
pub unsafe extern "C" fn cuGetExportTable(table: *mut Handle, _: Handle) -> Status {
    unsafe { *table = std::ptr::null_mut() };
    NOT_FOUND
}

/// One device.
#[no_mangle]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Status {
    unsafe { *count = 1 };
    OK
}

/// Device 0.
#[no_mangle]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Status {
    unsafe { *device = ordinal };
    if ordinal == 0 {
        OK
    } else {
        INVALID_DEVICE
    }
}

/// What it is.
#[no_mangle]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, room: c_int, _: c_int) -> Status {
    let text = c"PTX interpreter on the CPU (no GPU)".to_bytes_with_nul();
    if (room as usize) < text.len() {
        return INVALID_VALUE;
    }
    unsafe { name.copy_from(text.as_ptr().cast(), text.len()) };
    OK
}

/// A property of the device; 0 for what it does not have.
#[no_mangle]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    _: c_int,
) -> Status {
    let found = ATTRIBUTES.iter().find(|(number, _)| *number == attribute);
    unsafe { *value = found.map_or(0, |(_, value)| *value) };
    OK
}

/// The one context.
#[no_mangle]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Handle, _: c_int) -> Status {
    unsafe { *context = handle(0) };
    OK
}

/// The one context.
#[no_mangle]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut Handle) -> Status {
    unsafe { *context = handle(0) };
    OK
}

/// A stream.
#[no_mangle]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut Handle, _: c_uint) -> Status {
    unsafe { *stream = handle(0) };
    OK
}

/// Garbage of so many bytes.
#[no_mangle]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Status {
    unsafe { *address = driver().memory.allocate(bytes) };
    OK
}

/// Give memory back.
#[no_mangle]
pub extern "C" fn cuMemFree_v2(address: u64) -> Status {
    if driver().memory.free(address) {
        OK
    } else {
        INVALID_VALUE
    }
}

/// To the device.
#[no_mangle]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const u8,
    bytes: usize,
    _: Handle,
) -> Status {
    if !driver().memory.holds(to, bytes) {
        return INVALID_VALUE;
    }
    // SAFETY: `to` was checked; `from` is the caller's.
    unsafe { from.copy_to(to as *mut u8, bytes) };
    OK
}

/// From the device.
#[no_mangle]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut u8,
    from: u64,
    bytes: usize,
    _: Handle,
) -> Status {
    if !driver().memory.holds(from, bytes) {
        return INVALID_VALUE;
    }
    // SAFETY: `from` was checked; `to` is the caller's.
    unsafe { to.copy_from(from as *const u8, bytes) };
    OK
}

/// Fill.
#[no_mangle]
pub unsafe extern "C" fn cuMemsetD8Async(to: u64, byte: u8, bytes: usize, _: Handle) -> Status {
    if !driver().memory.holds(to, bytes) {
        return INVALID_VALUE;
    }
    // SAFETY: `to` was checked.
    unsafe { (to as *mut u8).write_bytes(byte, bytes) };
    OK
}

/// Load PTX.
#[no_mangle]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut Handle, image: *const c_char) -> Status {
    let text = unsafe { CStr::from_ptr(image) }.to_string_lossy();
    let driver = &mut *driver();
    let parsed = parse(&text, |bytes| {
        let address = driver.memory.allocate(bytes.len());
        // SAFETY: just allocated with this size.
        unsafe { (address as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
        address
    });
    match parsed {
        Ok(parsed) => {
            driver.modules.push(parsed);
            unsafe { *module = handle(driver.modules.len() - 1) };
            OK
        }
        Err(error) => {
            eprintln!("emulator: {error}");
            INVALID_PTX
        }
    }
}

/// A kernel of a module.
#[no_mangle]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut Handle,
    module: Handle,
    name: *const c_char,
) -> Status {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let driver = &mut *driver();
    let kernels: Option<&HashMap<_, _>> = driver.modules.get(index(module)).map(|m| &m.kernels);
    let Some(kernel) = kernels.and_then(|kernels| kernels.get(&*name)) else {
        return NOT_FOUND;
    };
    driver.functions.push(Function {
        kernel: kernel.clone(),
        shared_limit: SHARED.0,
    });
    unsafe { *function = handle(driver.functions.len() - 1) };
    OK
}

/// A kernel's consent to more shared memory.
#[no_mangle]
pub extern "C" fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) -> Status {
    const MAX_DYNAMIC_SHARED: c_int = 8;
    let mut driver = driver();
    match driver.functions.get_mut(index(function)) {
        Some(function) if attribute == MAX_DYNAMIC_SHARED && value as usize <= SHARED.1 => {
            function.shared_limit = value as usize;
            OK
        }
        _ => INVALID_VALUE,
    }
}

/// Blocks that a multiprocessor has at a time.
#[no_mangle]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: *mut c_int,
    _: Handle,
    _: c_int,
    _: usize,
    _: c_uint,
) -> Status {
    unsafe { *blocks = MULTIPROCESSORS.1 };
    OK
}

unsafe fn launch(function: Handle, shape: Shape, parameters: *mut Handle) -> Status {
    let driver = &mut *driver();
    let Some(function) = driver.functions.get(index(function)) else {
        return INVALID_VALUE;
    };
    if shape.shared > function.shared_limit || shape.threads > ATTRIBUTES[0].1 as u32 {
        return LAUNCH_OUT_OF_RESOURCES;
    }
    if shape.cooperative && shape.blocks as c_int > MULTIPROCESSORS.0 * MULTIPROCESSORS.1 {
        return TOO_LARGE;
    }
    let kernel = function.kernel.clone();
    let read = |(n, &bytes): (usize, &usize)| {
        let mut value = [0u8; 8];
        // SAFETY: the caller gives a pointer for each of the kernel's parameters.
        unsafe {
            (*parameters.add(n))
                .cast::<u8>()
                .copy_to(value.as_mut_ptr(), bytes)
        };
        u64::from_le_bytes(value)
    };
    let launch = Launch {
        parameters: kernel.parameters.iter().enumerate().map(read).collect(),
        kernel,
        shape,
    };
    match &mut driver.capture {
        Some(captured) => {
            captured.push(launch);
            OK
        }
        None => driver.launch(&launch),
    }
}

/// Launch blocks that do not know of each other.
#[no_mangle]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    blocks: c_uint,
    _: c_uint,
    _: c_uint,
    threads: c_uint,
    _: c_uint,
    _: c_uint,
    shared: c_uint,
    _: Handle,
    parameters: *mut Handle,
    _: Handle,
) -> Status {
    let shape = Shape {
        blocks,
        threads,
        shared: shared as usize,
        cooperative: false,
    };
    unsafe { launch(function, shape, parameters) }
}

/// Launch blocks that are all there at once.
#[no_mangle]
pub unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: Handle,
    blocks: c_uint,
    _: c_uint,
    _: c_uint,
    threads: c_uint,
    _: c_uint,
    _: c_uint,
    shared: c_uint,
    _: Handle,
    parameters: *mut Handle,
) -> Status {
    let shape = Shape {
        blocks,
        threads,
        shared: shared as usize,
        cooperative: true,
    };
    unsafe { launch(function, shape, parameters) }
}

/// Keep the launches that follow instead of running them.
#[no_mangle]
pub extern "C" fn cuStreamBeginCapture_v2(_: Handle, _: c_int) -> Status {
    driver().capture = Some(vec![]);
    OK
}

/// The launches that were kept.
#[no_mangle]
pub unsafe extern "C" fn cuStreamEndCapture(_: Handle, graph: *mut Handle) -> Status {
    let driver = &mut *driver();
    let Some(captured) = driver.capture.take() else {
        return CAPTURE_INVALIDATED;
    };
    driver.graphs.push(captured);
    unsafe { *graph = handle(driver.graphs.len() - 1) };
    OK
}

/// A graph is ready as it is.
#[no_mangle]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    ready: *mut Handle,
    graph: Handle,
    _: u64,
) -> Status {
    unsafe { *ready = graph };
    OK
}

/// Run a graph's launches.
#[no_mangle]
pub extern "C" fn cuGraphLaunch(graph: Handle, _: Handle) -> Status {
    let driver = &mut *driver();
    let Some(launches) = driver.graphs.get(index(graph)).cloned() else {
        return INVALID_VALUE;
    };
    launches
        .iter()
        .map(|launch| driver.launch(launch))
        .find(|&status| status != OK)
        .unwrap_or(OK)
}

/// A status in a word.
#[no_mangle]
pub unsafe extern "C" fn cuGetErrorName(status: Status, name: *mut *const c_char) -> Status {
    let text = match status {
        INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
        INVALID_PTX => c"CUDA_ERROR_INVALID_PTX",
        LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
        TOO_LARGE => c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        _ => c"CUDA_ERROR",
    };
    unsafe { *name = text.as_ptr() };
    OK
}

/// A status in a sentence.
#[no_mangle]
pub unsafe extern "C" fn cuGetErrorString(_: Status, text: *mut *const c_char) -> Status {
    unsafe { *text = c"the emulator says more on standard error".as_ptr() };
    OK
}
