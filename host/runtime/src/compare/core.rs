//! Rows of cores: cycles are exact, and seconds need a clock.

use super::bench::Bench;
use super::energy::Energy;
use super::figures::{figures, quantile, sorted, Evidence, Figures, Runs, Spread};
use super::row::row;
use super::{Core, Row};
use crate::backend::Kind;
use annulus_contract::shape::clock_of_board;

impl Bench<'_> {
    /// A core in simulation: cycles are exact, and seconds need a clock.
    pub(super) fn sim(&self, core: &Core, expected: &[u32]) -> Row {
        let lanes = core.shape.lanes();
        let row = row(
            Kind::Sim,
            &core.name,
            format!("simulated core, {lanes} lanes"),
        );
        let image = match &core.image {
            Ok(image) => image,
            Err(why) => return row.could_not_run(why),
        };
        let measured = self
            .open(Kind::Sim, image, Some(&core.shape))
            .and_then(|mut backend| self.stepped(backend.as_mut()))
            .map(|runs| (runs, Energy::unknown("a simulated core uses none")));
        row.finish(measured, expected, |runs, _| self.derived(runs, &core.name))
    }

    /// Cycles over the clock that was given, or else that of the board of this name.
    pub(super) fn derived(&self, runs: &Runs, board: &str) -> Figures {
        let given = self.request.clock_mhz.map(|mhz| mhz * 1e6);
        let clock = given.or_else(|| clock_of_board(board).map(f64::from));
        let rate = clock
            .zip(runs.cycles_per_token)
            .map(|(clock, cycles)| clock / cycles);
        let seconds = |share| {
            let cycles = sorted(&runs.cycles);
            Some(1e6 * quantile(&cycles, share)? / clock?)
        };
        let energy = match (self.request.board_watts, rate) {
            (Some(watts), Some(rate)) => Energy::Known {
                joules_per_token: watts / rate,
                source: format!("{watts} W, as given for the board"),
            },
            (None, _) => Energy::unknown("no board was measured: give --board-watts"),
            (_, None) => Energy::unknown("power needs a rate: give --clock"),
        };
        Figures {
            tokens_per_second: rate.and_then(|rate| Spread::of(vec![rate])),
            first_token_us: runs
                .first_cycles
                .zip(clock)
                .map(|(c, clock)| 1e6 * c / clock),
            token_us_p50: seconds(0.5),
            token_us_p99: seconds(0.99),
            token_clock: "the core's cycle counter",
            evidence: if rate.is_some() {
                Evidence::Derived
            } else {
                Evidence::Simulated
            },
            detail: match (given, clock) {
                (_, None) => "no clock was given".into(),
                (Some(_), Some(clock)) => format!("at {} MHz, as given", clock / 1e6),
                (None, Some(clock)) => {
                    format!("at {} MHz, the clock of the board's top", clock / 1e6)
                }
            },
            ..figures(runs, energy)
        }
    }
}
