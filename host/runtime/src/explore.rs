//! The design space: what a model costs and what it loses for each core, window,
//! number of sinks, width of weights and width of values.

mod plot;

pub use plot::svg;

use crate::backend::{self, Kind};
use crate::bench::{self, Plan};
use crate::cores;
use crate::eval::{quality, QualityError, Report};
use crate::generate::GenerateError;
use crate::sampling::Sampling;
use annulus_contract::regs::feature;
use annulus_contract::shape::CoreShape;
use annulus_model::cycles::token_cycles;
use annulus_model::image::Image;
use annulus_model::model::Model;
use annulus_model::quant::Width;
use serde::Serialize;
use std::collections::HashMap;

/// Why a design space cannot be explored.
#[derive(Debug, thiserror::Error)]
pub enum ExploreError {
    /// The text or the model does not allow it.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// Not a core.
    #[error("there is no core {0:?}")]
    Core(String),
    /// The simulated core, whose cycles were to be counted, failed.
    #[error(transparent)]
    Simulation(#[from] GenerateError),
}

impl From<backend::BackendError> for ExploreError {
    fn from(error: backend::BackendError) -> Self {
        Self::Simulation(error.into())
    }
}

/// What to combine with what.
#[derive(Clone, Debug)]
pub struct Space {
    /// Cores, by name, with their clocks in MHz where a rate is wanted.
    pub cores: Vec<(String, Option<f64>)>,
    /// Slots of each ring.
    pub windows: Vec<usize>,
    /// Slots that keep a stream's first tokens.
    pub sinks: Vec<usize>,
    /// A model for each width of weights and of values.
    pub models: Vec<Variants>,
}

/// A model, quantized with the rotation of queries and keys and without: cores that
/// leave the rotation out run the plain one.
#[derive(Clone, Debug)]
pub struct Variants {
    /// With the rotation, unless the model asks for none.
    pub rotated: Model,
    /// Without.
    pub plain: Model,
}

impl Variants {
    /// The one for a core.
    fn on(&self, core: &CoreShape) -> &Model {
        if core.has(feature::HADAMARD) {
            &self.rotated
        } else {
            &self.plain
        }
    }

    /// Bits that a weight, and that a value is stored in.
    fn bits(&self) -> (Width, Width) {
        let quant = &self.rotated.quant;
        (quant.weight_bits(), quant.value_bits)
    }
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Name of the core.
    pub core: String,
    /// Its multipliers.
    pub lanes: u32,
    /// Bits that a weight of the blocks' matrices is stored in.
    pub weight_bits: u8,
    /// Bits that a value is stored in.
    pub value_bits: u8,
    /// Slots of each ring.
    pub window: usize,
    /// Slots that keep a stream's first tokens.
    pub sinks: usize,
    /// What it costs and gives, or why it does not fit.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a combination.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It fits.
    Fits(Figures),
    /// It does not.
    Refused {
        /// What is short, and by how much.
        refused: String,
    },
}

/// What a combination costs and gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Bytes of weights on chip.
    pub weight_bytes: usize,
    /// Bytes of rings on chip.
    pub ring_bytes: usize,
    /// Mean loss of the integers, nats a token.
    pub loss: f64,
    /// Mean loss of float32 at the same window and sinks.
    pub loss_f32: f64,
    /// Mean divergence from float32 at the same window and sinks, nats.
    pub kl: f64,
    /// Cycles of a token with the ring full.
    pub cycles: u64,
    /// Where the cycles come from: `model` (which the core's own counters hold to) or `simulated`.
    pub evidence: &'static str,
    /// Clock that the rate is for, MHz: stated, not measured.
    pub clock_mhz: Option<f64>,
    /// Tokens a second at that clock.
    pub tokens_per_second: Option<f64>,
    /// Whether no other combination is as good in lanes, bytes, cycles and loss, and better in one.
    pub pareto: bool,
}

impl Figures {
    /// Bytes on chip, of weights and rings.
    pub fn bytes(&self) -> usize {
        self.weight_bytes + self.ring_bytes
    }
}

/// Try every combination. Accuracy is that of the first `tokens` predictions of
/// `text`; `progress` hears how many combinations are done, of how many.
///
/// # Errors
/// If the text cannot be evaluated or a simulated core cannot be built.
pub fn explore(
    space: &Space,
    text: &[u8],
    tokens: Option<usize>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Point>, ExploreError> {
    let all = space.cores.len() * space.models.len() * space.windows.len() * space.sinks.len();
    let mut known: HashMap<(bool, (Width, Width), usize, usize), Report> = HashMap::new();
    let mut points = Vec::with_capacity(all);
    for (name, clock_mhz) in &space.cores {
        for variants in &space.models {
            let bits = variants.bits();
            let core = cores::named_for(name, variants.rotated.quant.narrowest());
            let core = core.ok_or_else(|| ExploreError::Core(name.clone()))?;
            let model = variants.on(&core);
            for &window in &space.windows {
                for &sinks in &space.sinks {
                    let outcome = match Image::compile(&model.quant, &core, window, sinks) {
                        Err(refused) => Outcome::Refused {
                            refused: refused.to_string(),
                        },
                        Ok(image) => {
                            let key = (model.quant.hadamard, bits, window, sinks);
                            let report = match known.get(&key) {
                                Some(report) => *report,
                                None => quality(model, text, (window, sinks), tokens, |_, _| {})?,
                            };
                            known.insert(key, report);
                            let (cycles, evidence) = cycles(&core, &image)?;
                            Outcome::Fits(figures(&image, report, cycles, evidence, *clock_mhz))
                        }
                    };
                    points.push(Point {
                        core: name.clone(),
                        lanes: core.lanes(),
                        weight_bits: bits.0.count(),
                        value_bits: bits.1.count(),
                        window,
                        sinks,
                        outcome,
                    });
                    progress(points.len(), all);
                }
            }
        }
    }
    mark_front(&mut points);
    Ok(points)
}

fn figures(
    image: &Image,
    report: Report,
    cycles: u64,
    evidence: &'static str,
    clock_mhz: Option<f64>,
) -> Figures {
    let bytes = image.summary().bytes;
    Figures {
        weight_bytes: bytes.weights,
        ring_bytes: bytes.keys + bytes.values,
        loss: report.loss,
        loss_f32: report.loss_f32,
        kl: report.kl,
        cycles,
        evidence,
        clock_mhz,
        tokens_per_second: clock_mhz.map(|mhz| mhz * 1e6 / cycles as f64),
        pareto: false,
    }
}

/// Cycles of a token with the ring full. The cycle model knows the cores of two
/// rows and more; the smallest one is simulated.
fn cycles(core: &CoreShape, image: &Image) -> Result<(u64, &'static str), ExploreError> {
    let full = image.window();
    if core.rows > 1 {
        return Ok((token_cycles(image, full as u64, true).total, "model"));
    }
    let mut backend = backend::open(Kind::Sim, core, None, None)?;
    backend.load(image)?;
    let plan = Plan {
        positions: full..full + 1,
        tokens: 1,
    };
    let greedy = Sampling {
        temperature: 0.0,
        seed: 0,
        top_k: None,
        top_p: None,
    };
    let prompt = [image.special.bos];
    let report = bench::measure(backend.as_mut(), image, &prompt, &greedy, &plan, |_, _| {})?;
    let counted = report.cycles_per_token.map_or(0, |cycles| cycles.max);
    Ok((counted, "simulated"))
}

/// Marks what no other combination dominates.
fn mark_front(points: &mut [Point]) {
    let costs: Vec<Option<[f64; 4]>> = points
        .iter()
        .map(|point| match &point.outcome {
            Outcome::Fits(f) => Some([
                f64::from(point.lanes),
                f.bytes() as f64,
                f.cycles as f64,
                f.loss,
            ]),
            Outcome::Refused { .. } => None,
        })
        .collect();
    let dominates = |a: &[f64; 4], b: &[f64; 4]| {
        a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
    };
    for (point, cost) in points.iter_mut().zip(&costs) {
        if let (Outcome::Fits(figures), Some(cost)) = (&mut point.outcome, cost) {
            figures.pareto = !costs.iter().flatten().any(|other| dominates(other, cost));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(lanes: u32, bytes: usize, cycles: u64, loss: f64) -> Point {
        let figures = Figures {
            weight_bytes: bytes,
            ring_bytes: 0,
            loss,
            loss_f32: loss,
            kl: 0.0,
            cycles,
            evidence: "model",
            clock_mhz: None,
            tokens_per_second: None,
            pareto: false,
        };
        Point {
            core: lanes.to_string(),
            lanes,
            weight_bits: 8,
            value_bits: 8,
            window: 1,
            sinks: 0,
            outcome: Outcome::Fits(figures),
        }
    }

    #[test]
    fn the_front_is_what_nothing_dominates() {
        let mut points = vec![
            point(8, 100, 50, 1.0),
            // As good in all, better in none: neither dominates.
            point(8, 100, 50, 1.0),
            // Worse in one, better in none.
            point(8, 100, 51, 1.0),
            // Better in one, worse in others.
            point(64, 200, 10, 1.0),
            point(8, 300, 60, 0.9),
        ];
        points.push(Point {
            outcome: Outcome::Refused {
                refused: "too large".into(),
            },
            ..points[0].clone()
        });
        mark_front(&mut points);
        let front: Vec<bool> = points
            .iter()
            .map(|p| matches!(&p.outcome, Outcome::Fits(f) if f.pareto))
            .collect();
        assert_eq!(front, [true, true, false, true, true, false]);
    }
}
