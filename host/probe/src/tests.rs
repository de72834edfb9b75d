use super::*;
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
/// of its two cores included. Its mock ends where flashing begins, in the reset of the chip.
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
