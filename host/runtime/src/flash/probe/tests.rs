use super::*;
use crate::flash::elf::Segment;
use probe_rs::integration::{FakeProbe, ProbeLister};
use probe_rs::probe::list::ProbeListItem;
use probe_rs::probe::DebugProbeError;

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

fn firmware(family: Family) -> Firmware {
    let segments = [Segment {
        address: 0x1000_0000,
        bytes: vec![7; 600],
    }];
    Firmware {
        blocks: uf2::write(&segments, family),
        family,
    }
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

#[test]
fn a_session_attaches_to_a_fake_chip() {
    // A core of Arm's behind the fake probe is all that there is: enough to attach to.
    let probe = open(&fake(), Some("2e8a:000c")).expect("a fake opens");
    let session = probe.attach("nrf51822_xxAC", Permissions::default());
    assert!(session.is_ok(), "{:?}", session.err());
}

#[test]
fn both_microcontrollers_are_known_with_their_flash() {
    let registry = probe_rs::config::Registry::from_builtin_families();
    for family in Family::ALL {
        let target = registry
            .get_target_by_name(chip(family))
            .expect("it is known");
        let mut loader = target.flash_loader();
        for (address, bytes) in uf2::contents(&firmware(family).blocks) {
            loader.add_data(address.into(), bytes).expect("it is flash");
        }
    }
}

#[test]
fn a_chip_that_does_not_answer_is_told() {
    let probe = open(&fake(), Some("2e8a:000c")).expect("a fake opens");
    let error = program(probe, &firmware(Family::Rp2040), |_, _| ());
    let error = error.expect_err("there is no RP2040").to_string();
    assert!(
        error.starts_with("no RP2040 answers") || error.contains("was not programmed"),
        "{error}"
    );
}
