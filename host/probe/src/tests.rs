mod rp2040;
mod thumb;

use super::*;
use probe_rs::flashing::FlashError;
use probe_rs::integration::{FakeProbe, ProbeLister};
use probe_rs::probe::list::ProbeListItem;
use probe_rs::probe::{DebugProbeError, ProbeCreationError};

/// A probe that is not there: everything that is asked of the chip behind it fails or reads as
/// probe-rs' mock of a core has it.
#[derive(Debug)]
struct OneFake;

impl ProbeLister for OneFake {
    fn open(&self, _: &DebugProbeSelector) -> Result<Probe, DebugProbeError> {
        Ok(FakeProbe::with_mocked_core().into_probe())
    }

    fn list_with_access(&self, _: Option<&DebugProbeSelector>) -> Vec<ProbeListItem> {
        Vec::new()
    }
}

fn fake() -> Lister {
    Lister::with_lister(Box::new(OneFake))
}

/// Some flash.
fn firmware() -> [(u32, &'static [u8]); 2] {
    [(0x1000_0000, &[7; 256]), (0x1000_0100, &[8; 256])]
}

#[test]
fn probes_are_listed_and_named() {
    assert_eq!(list(&fake()), []);
    let error = open(&fake(), None).err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("BOOTSEL")));
    assert!(matches!(
        open(&fake(), Some("my probe")),
        Err(ProbeError::Name(_))
    ));
    open(&fake(), Some("2e8a:000c:E6614103E7174A24")).expect("a fake opens");
    // The list of this machine may be empty; asking for it opens nothing.
    list(&Lister::new());
}

/// probe-rs goes through all that it does with an RP2040 up to here, its choice among the debug ports
/// of its two cores included. Its own mock ends where flashing begins, in the reset of the chip; ours
/// goes on from there.
#[test]
fn a_session_attaches_to_a_fake_rp2040() {
    let probe = open(&fake(), Some("2e8a:000c")).expect("a fake opens");
    let session = attach(probe, Chip::Rp2040);
    let session = session.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(session.target().name, "RP2040");
    assert_eq!(session.list_cores().len(), 2);
}

#[test]
fn both_microcontrollers_are_known_with_their_flash() {
    let registry = probe_rs::config::Registry::from_builtin_families();
    for chip in [Chip::Rp2040, Chip::Rp2350] {
        let target = registry.get_target_by_name(chip.name());
        let mut loader = target.expect("it is known").flash_loader();
        for (address, bytes) in firmware() {
            loader.add_data(address.into(), bytes).expect("it is flash");
        }
    }
}

/// Without a chip that would take it, what is to be programmed is laid out all the same: an algorithm
/// is found, and pages and sectors. What is no flash is refused.
#[test]
fn a_dry_run_finds_the_algorithm_and_refuses_what_is_no_flash() {
    let probe = open(&fake(), Some("2e8a:000c")).expect("a fake opens");
    let mut session = attach(probe, Chip::Rp2040).expect("it attaches");
    let mut loader = session.target().flash_loader();
    for (address, bytes) in firmware() {
        loader.add_data(address.into(), bytes).expect("it is flash");
    }
    for (address, there) in [
        (0x1000_0000, true),
        (0x1000_01ff, true),
        (0x1000_0200, false),
    ] {
        assert_eq!(loader.has_data_for_address(address), there, "{address:#x}");
    }
    let mut options = DownloadOptions::default();
    options.dry_run = true;
    loader.commit(&mut session, options).expect("it is planned");
    for address in [0, 0x4000_0000, 0x1800_0000] {
        let refused = loader.add_data(address, &[0; 4]);
        assert!(matches!(refused, Err(FlashError::NoSuitableNvm { .. })));
    }
    let twice = loader.add_data(0x1000_0080, &[0; 4]);
    assert!(matches!(twice, Err(FlashError::DataOverlaps { .. })));
}

/// Firmware of a common size, in two pieces that do not meet, neither of whole pages.
fn long_firmware() -> [(u32, Vec<u8>); 2] {
    let bytes = |count: u32, seed: u32| {
        let mix = |i: u32| (i ^ seed).wrapping_mul(0x9e37_79b9) >> 24;
        (0..count).map(|i| mix(i) as u8).collect()
    };
    [
        (rp2040::FLASH, bytes(67_001, 1)),
        (rp2040::FLASH + 0x1_8100, bytes(900, 2)),
    ]
}

/// The whole way: probe-rs resets the chip through its rescue port, loads its flash algorithm into RAM,
/// and the algorithm, on an interpreted core, has the boot ROM erase and program what is read back.
#[test]
fn an_rp2040_is_programmed_by_probe_rs_own_algorithm() {
    let wired = rp2040::Wired::new(1 << 20);
    let firmware = long_firmware();
    let pieces = firmware
        .iter()
        .map(|(address, bytes)| (*address, &bytes[..]));
    let mut heard = Vec::new();
    let done = program(wired.probe(), Chip::Rp2040, pieces, |done, all| {
        heard.push((done, all))
    });
    done.unwrap_or_else(|error| panic!("{error}"));
    let chip = wired.chip();
    for (address, bytes) in &firmware {
        let from = (address - rp2040::FLASH) as usize;
        assert!(
            chip.flash()[from..][..bytes.len()] == bytes[..],
            "{address:#x}"
        );
        // The rest of its last sector is empty, and the next one was left alone.
        let end = from + bytes.len();
        assert!(chip.flash()[end..end.next_multiple_of(4096)]
            .iter()
            .all(|&byte| byte == 0xff));
        assert_eq!(chip.flash()[end.next_multiple_of(4096)], 0);
    }
    // 17 sectors of 4 KiB and one; pages of 256 bytes.
    assert_eq!(chip.erased, 18);
    assert!(
        (266..=288).contains(&chip.programmed),
        "{} pages",
        chip.programmed
    );
    assert!(chip.resets >= 2 && chip.runs(), "it was reset, and started");
    // Progress never goes back, and ends with all of it.
    assert!(heard.windows(2).all(|two| two[0].0 <= two[1].0));
    let (done, all) = *heard.last().expect("it says how far it is");
    assert_eq!(done, all);
}

#[test]
fn a_flash_that_does_not_keep_a_bit_is_found_out() {
    let wired = rp2040::Wired::new(1 << 20);
    wired.chip().worn = Some(8);
    let firmware = [(rp2040::FLASH, &[0xff; 300][..])];
    let error = program(wired.probe(), Chip::Rp2040, firmware, |_, _| ()).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("flash was not programmed"), "{error}");
    assert!(error.to_lowercase().contains("verif"), "{error}");
}

/// A probe that is in use, or not the user's.
#[derive(Debug)]
struct Closed;

impl ProbeLister for Closed {
    fn open(&self, _: &DebugProbeSelector) -> Result<Probe, DebugProbeError> {
        Err(DebugProbeError::ProbeCouldNotBeCreated(
            ProbeCreationError::CouldNotOpen,
        ))
    }

    fn list_with_access(&self, _: Option<&DebugProbeSelector>) -> Vec<ProbeListItem> {
        Vec::new()
    }
}

#[test]
fn a_probe_that_cannot_be_opened_is_told() {
    let lister = Lister::with_lister(Box::new(Closed));
    let error = open(&lister, Some("2e8a:000c")).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("cannot be opened"), "{error}");
    assert!(error.contains("udev rules"), "{error}");
}
