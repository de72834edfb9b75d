//! An RP2040 behind a debug probe, as far as programming it goes: two debug ports, the debug registers
//! of its cores, RAM, a boot ROM that has the functions which write flash, and that flash.
//!
//! What runs on it is probe-rs' own flash algorithm, instruction by instruction.

use super::thumb::{Bus, Processor, Step};
use probe_rs::architecture::arm::ap::CSW;
use probe_rs::architecture::arm::dp::{DpAddress, DpRegisterAddress};
use probe_rs::architecture::arm::memory::ArmMemoryInterface;
use probe_rs::architecture::arm::sequences::ArmDebugSequence;
use probe_rs::architecture::arm::{
    ArmDebugInterface, ArmError, DapAccess, DapProbe, FullyQualifiedApAddress, RawDapAccess,
    RegisterAddress, SwdSequence, SwoAccess, SwoConfig,
};
use probe_rs::probe::{DebugProbe, DebugProbeError, Probe, WireProtocol};
use probe_rs::{CoreStatus, MemoryInterface};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where flash is read as memory, and RAM.
pub const FLASH: u32 = 0x1000_0000;
const RAM: u32 = 0x2000_0000;
const RAM_SIZE: usize = 264 << 10;
const SECTOR: u32 = 4096;
const PAGE: u32 = 256;
const ROM_SIZE: u32 = 0x4000;
/// The debug port of the second core.
const CORE_1: DpAddress = DpAddress::Multidrop(0x1100_2927);
/// The port that resets the chip.
const RESCUE: DpAddress = DpAddress::Multidrop(0xf100_2927);

/// Debug registers of a core.
const CPUID: u32 = 0xe000_ed00;
const AIRCR: u32 = 0xe000_ed0c;
const DFSR: u32 = 0xe000_ed30;
const DHCSR: u32 = 0xe000_edf0;
const DCRSR: u32 = 0xe000_edf4;
const DCRDR: u32 = 0xe000_edf8;
const DEMCR: u32 = 0xe000_edfc;
/// Which core reads it.
const SIO_CPUID: u32 = 0xd000_0000;

/// Where the boot ROM says where its table of functions is; the table; and the functions, two bytes apart.
const TABLE_AT: usize = 0x14;
const TABLE: usize = 0x100;
const FUNCTIONS: u32 = 0x300;
const NAMES: [&[u8; 2]; 6] = [b"IF", b"EX", b"RE", b"RP", b"FC", b"CX"];

/// What flash can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing: its pins are not connected.
    Off,
    /// Being written by the ROM.
    Commands,
    /// Being read as memory.
    Memory,
}

#[derive(Debug, Default)]
struct Core {
    processor: Processor,
    halted: bool,
    control: u32,
    transfer: u32,
    monitor: u32,
    why: u32,
}

#[derive(Debug)]
pub struct Chip {
    cores: [Core; 2],
    memory: Memory,
    /// Times that it was reset.
    pub resets: u32,
    /// Sectors that were erased, and pages that were programmed.
    pub erased: u32,
    pub programmed: u32,
    /// A bit of flash that cannot be set: which byte it is in.
    pub worn: Option<usize>,
    /// The debug port that was selected last.
    selected: u32,
}

#[derive(Debug)]
struct Memory {
    rom: Vec<u8>,
    ram: Vec<u8>,
    flash: Vec<u8>,
    mode: Mode,
}

impl Bus for Memory {
    fn read(&mut self, address: u32) -> u8 {
        if let Some(byte) = self.rom.get(address as usize) {
            return *byte;
        }
        let place = |from: u32| address.wrapping_sub(from) as usize;
        if let Some(byte) = self.ram.get(place(RAM)) {
            return *byte;
        }
        match self.flash.get(place(FLASH)) {
            Some(byte) if self.mode == Mode::Memory => *byte,
            _ => 0,
        }
    }

    fn write(&mut self, address: u32, byte: u8) {
        let place = address.wrapping_sub(RAM) as usize;
        if let Some(place) = self.ram.get_mut(place) {
            *place = byte;
        }
    }
}

/// What code that is not in the ROM reads of it: the table of its functions.
fn boot_rom() -> Vec<u8> {
    let mut rom = vec![0; ROM_SIZE as usize];
    rom[TABLE_AT..][..2].copy_from_slice(&(TABLE as u16).to_le_bytes());
    for (i, name) in NAMES.into_iter().enumerate() {
        let function = (FUNCTIONS as u16 + 2 * i as u16) | 1;
        rom[TABLE + 4 * i..][..2].copy_from_slice(name);
        rom[TABLE + 4 * i + 2..][..2].copy_from_slice(&function.to_le_bytes());
    }
    rom
}

impl Chip {
    fn new(flash: usize) -> Self {
        Chip {
            cores: Default::default(),
            memory: Memory {
                rom: boot_rom(),
                ram: vec![0; RAM_SIZE],
                flash: vec![0; flash],
                mode: Mode::Memory,
            },
            resets: 0,
            erased: 0,
            programmed: 0,
            worn: None,
            selected: 0,
        }
    }

    /// What is in flash.
    pub fn flash(&self) -> &[u8] {
        &self.memory.flash
    }

    /// Whether its first core runs, and flash is memory again for it.
    pub fn runs(&self) -> bool {
        !self.cores[0].halted && self.memory.mode == Mode::Memory
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.memory.mode = Mode::Memory;
        for core in &mut self.cores {
            core.processor = Processor::default();
            core.control |= 1 << 25;
            core.halted = core.monitor & 1 == 1;
            core.why = u32::from(core.halted) << 3;
        }
    }

    /// Does what the function of the boot ROM does that a core has called.
    fn rom(&mut self, core: usize) {
        let r = &mut self.cores[core].processor.r;
        let [at, length, count] = [r[0], r[1], r[2]];
        let called = r[15];
        r[15] = r[14] & !1;
        let memory = &mut self.memory;
        match NAMES[(called - FUNCTIONS) as usize / 2] {
            b"IF" => memory.mode = Mode::Off,
            b"EX" => memory.mode = Mode::Commands,
            b"CX" => memory.mode = Mode::Memory,
            b"RE" => {
                assert_eq!(
                    (memory.mode, at % SECTOR, length % SECTOR),
                    (Mode::Commands, 0, 0)
                );
                memory.flash[at as usize..][..length as usize].fill(0xff);
                self.erased += length / SECTOR;
            }
            b"RP" => {
                assert_eq!(
                    (memory.mode, at % PAGE, count % PAGE),
                    (Mode::Commands, 0, 0)
                );
                for i in 0..count {
                    let byte = memory.read(length + i);
                    memory.flash[(at + i) as usize] &= byte;
                }
                self.programmed += count / PAGE;
                if let Some(worn) = self.worn {
                    memory.flash[worn] &= !1;
                }
            }
            // What was read of flash is forgotten.
            _ => {}
        }
    }

    /// Runs an instruction, or a function of the ROM; says whether there is a next one. Code elsewhere
    /// than in RAM and ROM is the firmware, which is let go.
    fn step(&mut self, core: usize) -> bool {
        let pc = self.cores[core].processor.r[15];
        if (FUNCTIONS..ROM_SIZE).contains(&pc) {
            self.rom(core);
            return true;
        }
        if !(RAM..RAM + RAM_SIZE as u32).contains(&pc) {
            return false;
        }
        match self.cores[core].processor.step(&mut self.memory) {
            Step::Done => true,
            Step::Breakpoint => {
                self.cores[core].halted = true;
                self.cores[core].why |= 2;
                false
            }
            Step::Undefined(op) => panic!("{op:#06x} at {pc:#010x} is no instruction"),
        }
    }

    /// Lets a core run until it halts by itself.
    fn run(&mut self, core: usize) {
        let ended = (0..50_000_000).any(|_| !self.step(core));
        assert!(ended, "the algorithm does not end");
    }

    fn read_word(&mut self, core: usize, address: u32) -> u32 {
        let state = &mut self.cores[core];
        match address {
            SIO_CPUID => core as u32,
            CPUID => 0x410c_c601,
            DFSR => state.why,
            DHCSR => {
                let was_reset = state.control & 1 << 25;
                state.control &= !(1 << 25);
                // A register can be read at any time.
                was_reset | state.control & 0xf | 1 << 16 | u32::from(state.halted) << 17
            }
            DCRDR => state.transfer,
            DEMCR => state.monitor,
            _ => u32::from_le_bytes([0, 1, 2, 3].map(|i| self.memory.read(address + i))),
        }
    }

    fn write_word(&mut self, core: usize, address: u32, word: u32) {
        let state = &mut self.cores[core];
        match address {
            AIRCR if word & 4 != 0 => self.reset(),
            DFSR => state.why &= !word,
            DCRDR => state.transfer = word,
            DCRSR => {
                let register = state.processor.r.get_mut((word & 31) as usize);
                match register {
                    Some(register) if word >> 16 & 1 == 1 => *register = state.transfer,
                    Some(register) => state.transfer = *register,
                    None => state.transfer = 0,
                }
                state.processor.r[15] &= !1;
            }
            DEMCR => state.monitor = word,
            DHCSR if word >> 16 == 0xa05f => {
                let was_halted = std::mem::replace(&mut state.halted, word & 2 != 0);
                state.control = state.control & 1 << 25 | word & 0xf;
                if state.halted && !was_halted {
                    state.why |= 1;
                }
                if was_halted && !state.halted && word & 4 != 0 {
                    self.step(core);
                    let state = &mut self.cores[core];
                    state.halted = true;
                    state.why |= 1;
                } else if was_halted && !state.halted {
                    self.run(core);
                }
            }
            0xe000_0000.. => {}
            _ => {
                for (i, byte) in word.to_le_bytes().into_iter().enumerate() {
                    self.memory.write(address + i as u32, byte);
                }
            }
        }
    }
}

/// A probe that is wired to a chip.
#[derive(Clone, Debug)]
pub struct Wired(Arc<Mutex<Chip>>);

impl Wired {
    /// A chip with so many bytes of flash.
    pub fn new(flash: usize) -> Self {
        Wired(Arc::new(Mutex::new(Chip::new(flash))))
    }

    /// The chip.
    pub fn chip(&self) -> MutexGuard<'_, Chip> {
        // Whatever failed meanwhile is told by that.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The probe as probe-rs has them.
    pub fn probe(&self) -> Probe {
        Probe::new(self.clone())
    }
}

impl DebugProbe for Wired {
    fn get_name(&self) -> &str {
        "an RP2040 in memory"
    }

    fn speed_khz(&self) -> u32 {
        1000
    }

    fn set_speed(&mut self, khz: u32) -> Result<u32, DebugProbeError> {
        Ok(khz)
    }

    fn attach(&mut self) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn detach(&mut self) -> Result<(), probe_rs::Error> {
        Ok(())
    }

    fn target_reset(&mut self) -> Result<(), DebugProbeError> {
        self.chip().reset();
        Ok(())
    }

    fn target_reset_assert(&mut self) -> Result<(), DebugProbeError> {
        self.target_reset()
    }

    fn target_reset_deassert(&mut self) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn select_protocol(&mut self, _: WireProtocol) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn active_protocol(&self) -> Option<WireProtocol> {
        Some(WireProtocol::Swd)
    }

    fn has_arm_interface(&self) -> bool {
        true
    }

    fn try_get_arm_debug_interface<'probe>(
        self: Box<Self>,
        _: Arc<dyn ArmDebugSequence>,
    ) -> Result<Box<dyn ArmDebugInterface + 'probe>, (Box<dyn DebugProbe>, ArmError)> {
        Ok(Box::new(Interface {
            wired: *self,
            port: None,
        }))
    }

    fn into_probe(self: Box<Self>) -> Box<dyn DebugProbe> {
        self
    }

    fn try_as_dap_probe(&mut self) -> Option<&mut dyn DapProbe> {
        Some(self)
    }
}

impl DapProbe for Wired {}

impl RawDapAccess for Wired {
    fn raw_read_register(&mut self, address: RegisterAddress) -> Result<u32, ArmError> {
        let bank = match address {
            RegisterAddress::DpRegister(register) => register.bank,
            RegisterAddress::ApRegister(_) => None,
        };
        Ok(match bank {
            // Which chip it is, and which of its ports: each in bits of its own.
            Some(2 | 3) => self.chip().selected,
            _ => 0x0bc1_2477,
        })
    }

    fn raw_write_register(&mut self, _: RegisterAddress, _: u32) -> Result<(), ArmError> {
        Ok(())
    }

    fn jtag_sequence(&mut self, _: u8, _: bool, _: u64) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn swj_sequence(&mut self, length: u8, bits: u64) -> Result<(), DebugProbeError> {
        // A request to write TARGETSEL, and what to write.
        if length == 48 && bits & 0x1fff == 0x1f99 {
            self.chip().selected = (bits >> 13) as u32;
        }
        Ok(())
    }

    fn swj_pins(&mut self, _: u32, _: u32, _: u32) -> Result<u32, DebugProbeError> {
        Ok(0)
    }

    fn into_probe(self: Box<Self>) -> Box<dyn DebugProbe> {
        self
    }

    fn core_status_notification(&mut self, _: CoreStatus) -> Result<(), DebugProbeError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Interface {
    wired: Wired,
    port: Option<DpAddress>,
}

impl SwdSequence for Interface {
    fn swj_sequence(&mut self, _: u8, _: u64) -> Result<(), DebugProbeError> {
        Ok(())
    }

    fn swj_pins(&mut self, _: u32, _: u32, _: u32) -> Result<u32, DebugProbeError> {
        Ok(0)
    }
}

impl SwoAccess for Interface {
    fn enable_swo(&mut self, _: &SwoConfig) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("SWO"))
    }

    fn disable_swo(&mut self) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("SWO"))
    }

    fn read_swo_timeout(&mut self, _: Duration) -> Result<Vec<u8>, ArmError> {
        Err(ArmError::NotImplemented("SWO"))
    }
}

impl DapAccess for Interface {
    fn read_raw_dp_register(
        &mut self,
        _: DpAddress,
        _: DpRegisterAddress,
    ) -> Result<u32, ArmError> {
        // Control and status: powered.
        Ok(0xf000_0000)
    }

    fn write_raw_dp_register(
        &mut self,
        port: DpAddress,
        _: DpRegisterAddress,
        _: u32,
    ) -> Result<(), ArmError> {
        if port == RESCUE {
            self.wired.chip().reset();
        }
        Ok(())
    }

    fn read_raw_ap_register(
        &mut self,
        _: &FullyQualifiedApAddress,
        _: u64,
    ) -> Result<u32, ArmError> {
        Err(ArmError::NotImplemented("registers of access ports"))
    }

    fn write_raw_ap_register(
        &mut self,
        _: &FullyQualifiedApAddress,
        _: u64,
        _: u32,
    ) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("registers of access ports"))
    }

    fn try_dap_probe(&self) -> Option<&dyn DapProbe> {
        Some(&self.wired)
    }

    fn try_dap_probe_mut(&mut self) -> Option<&mut dyn DapProbe> {
        Some(&mut self.wired)
    }
}

impl ArmDebugInterface for Interface {
    fn reinitialize(&mut self) -> Result<(), ArmError> {
        Ok(())
    }

    fn access_ports(
        &mut self,
        port: DpAddress,
    ) -> Result<BTreeSet<FullyQualifiedApAddress>, ArmError> {
        let only = FullyQualifiedApAddress::v1_with_dp(port, 0);
        Ok(BTreeSet::from([only]))
    }

    fn close(self: Box<Self>) -> Probe {
        self.wired.probe()
    }

    fn select_debug_port(&mut self, port: DpAddress) -> Result<(), ArmError> {
        self.port = Some(port);
        Ok(())
    }

    fn current_debug_port(&self) -> Option<DpAddress> {
        self.port
    }

    fn memory_interface(
        &mut self,
        address: &FullyQualifiedApAddress,
    ) -> Result<Box<dyn ArmMemoryInterface + '_>, ArmError> {
        Ok(Box::new(Access {
            core: usize::from(address.dp() == CORE_1),
            address: address.clone(),
            interface: self,
        }))
    }
}

/// Memory as a core's debug port sees it.
struct Access<'a> {
    core: usize,
    address: FullyQualifiedApAddress,
    interface: &'a mut Interface,
}

impl Access<'_> {
    fn chip(&self) -> MutexGuard<'_, Chip> {
        self.interface.wired.chip()
    }
}

impl MemoryInterface<ArmError> for Access<'_> {
    fn supports_native_64bit_access(&mut self) -> bool {
        false
    }

    fn supports_8bit_transfers(&self) -> Result<bool, ArmError> {
        Ok(true)
    }

    fn read_64(&mut self, _: u64, _: &mut [u64]) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("words of 64 bits"))
    }

    fn read_32(&mut self, address: u64, data: &mut [u32]) -> Result<(), ArmError> {
        let core = self.core;
        let mut chip = self.chip();
        for (word, at) in data.iter_mut().zip((address as u32..).step_by(4)) {
            *word = chip.read_word(core, at);
        }
        Ok(())
    }

    fn read_16(&mut self, _: u64, _: &mut [u16]) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("words of 16 bits"))
    }

    fn read_8(&mut self, address: u64, data: &mut [u8]) -> Result<(), ArmError> {
        let mut chip = self.chip();
        for (byte, at) in data.iter_mut().zip(address as u32..) {
            *byte = chip.memory.read(at);
        }
        Ok(())
    }

    fn write_64(&mut self, _: u64, _: &[u64]) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("words of 64 bits"))
    }

    fn write_32(&mut self, address: u64, data: &[u32]) -> Result<(), ArmError> {
        let core = self.core;
        let mut chip = self.chip();
        for (word, at) in data.iter().zip((address as u32..).step_by(4)) {
            chip.write_word(core, at, *word);
        }
        Ok(())
    }

    fn write_16(&mut self, _: u64, _: &[u16]) -> Result<(), ArmError> {
        Err(ArmError::NotImplemented("words of 16 bits"))
    }

    fn write_8(&mut self, address: u64, data: &[u8]) -> Result<(), ArmError> {
        let mut chip = self.chip();
        for (byte, at) in data.iter().zip(address as u32..) {
            chip.memory.write(at, *byte);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArmError> {
        Ok(())
    }
}

impl ArmMemoryInterface for Access<'_> {
    fn fully_qualified_address(&self) -> FullyQualifiedApAddress {
        self.address.clone()
    }

    fn base_address(&mut self) -> Result<u64, ArmError> {
        Ok(0xe00f_f000)
    }

    fn get_arm_debug_interface(&mut self) -> Result<&mut dyn ArmDebugInterface, DebugProbeError> {
        Ok(self.interface)
    }

    fn generic_status(&mut self) -> Result<CSW, ArmError> {
        Err(ArmError::NotImplemented("status of access ports"))
    }
}
