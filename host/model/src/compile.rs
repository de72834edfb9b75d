//! From a quantized model to what a core holds of it: layout, packing, steps.
//! [`Image::compile`](crate::image::Image::compile) makes an image of that.

mod config;
mod layout;
mod needs;
pub(crate) mod pack;
mod steps;

pub use config::{Config, EmbeddingConfig};
pub use layout::{LayerLayout, Layout, Placed};
pub use needs::Needs;
pub(crate) use needs::{score_buffers, steps_by_kind};
pub(crate) use steps::{program, MAX_SCORE_BUFFERS};

use crate::check::{legal_shifts, CheckError, IllegalShift};
use crate::config::MAX_WINDOW;
use crate::quant::{Embedding, Formats, Matrix, QuantModel};
use annulus_contract::ring::Ring;
use annulus_contract::rope::{phase, Rotation};
use annulus_contract::shape::CoreShape;
use annulus_contract::stage;
use annulus_contract::step::Step;
use pack::Packed;

/// Why a model cannot run on a core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The model is not well formed.
    #[error("the model is not well formed: {0}")]
    Model(#[from] CheckError),
    /// A shift that no core does.
    #[error("{0}: quantize the model with other number formats")]
    Shift(#[from] IllegalShift),
    /// A window of no tokens, or longer than any ring.
    #[error("a window of {0} tokens is not within 1 to {MAX_WINDOW}")]
    Window(usize),
    /// The sinks leave no slot for the ring.
    #[error("{sinks} sinks do not fit a window of {window}: it must be larger than they are")]
    Sinks {
        /// Sinks asked for.
        sinks: usize,
        /// The window.
        window: usize,
    },
    /// The core has another number of lanes.
    #[error("the image is for {image} lanes, the core has {core}")]
    Lanes {
        /// Lanes of the image.
        image: usize,
        /// Lanes of the core.
        core: usize,
    },
    /// Heads too large for the core's head stage.
    #[error("the model's heads have {head_size} elements, the core holds {max}: {} too many", head_size - max)]
    HeadSize {
        /// Head size of the model.
        head_size: usize,
        /// Largest head size of the core.
        max: usize,
    },
    /// The core was built without something.
    #[error("this core has no {name}: {cure}, or take another core")]
    Feature {
        /// What it lacks.
        name: &'static str,
        /// What to do without it.
        cure: &'static str,
    },
    /// The wide memory is too small.
    #[error(
        "weights and rings need {} of wide memory, the core has {}: {} short; {}",
        kib(*need), kib(*have), kib(need - have), remedy(*fitting_window)
    )]
    Memory {
        /// Bytes needed.
        need: usize,
        /// Bytes there are.
        have: usize,
        /// The longest window that would fit, if any would.
        fitting_window: Option<usize>,
    },
    /// Another memory is too small.
    #[error(
        "the image needs {need} {what}, the core has {have}: {} short{}",
        need - have, fitting_window.map_or(String::new(), |w| format!("; {}", remedy(Some(w))))
    )]
    Capacity {
        /// What there is too little of.
        what: &'static str,
        /// How many are needed.
        need: usize,
        /// How many there are.
        have: usize,
        /// The longest window that would fit, where a window decides.
        fitting_window: Option<usize>,
    },
    /// A size that steps cannot express.
    #[error("the model needs {need} {what}, but no core addresses more than {limit}")]
    Encoding {
        /// What there is too much of.
        what: &'static str,
        /// How many are needed.
        need: usize,
        /// How many a step can express.
        limit: usize,
    },
    /// A row's scale that does not fit 6 bits once the format of the up vector
    /// is folded into it.
    #[error("layer {layer}, up row {row}: an exponent of {s} does not fit 6 bits: quantize the model with other number formats")]
    UpScale {
        /// The layer.
        layer: usize,
        /// Row of `w3`.
        row: usize,
        /// Its exponent with the format folded in.
        s: i32,
    },
    /// A token's row that saturates before its position's row is added.
    #[error("the embedding of token {0} does not fit 16 bits: quantize the model with fewer fraction bits")]
    EmbeddingRange(usize),
    /// The self-test's tokens could not be computed.
    #[error("the self-test cannot run: {0}")]
    SelfTest(String),
}

fn kib(bytes: usize) -> String {
    format!("{:.0} KiB", (bytes as f64 / 1024.0).ceil())
}

fn remedy(fitting_window: Option<usize>) -> String {
    match fitting_window {
        Some(window) => format!("a window of at most {window} would fit"),
        None => "no window would fit".into(),
    }
}

/// What a core is given of a model.
pub(crate) struct Compiled {
    pub config: Config,
    pub ring: Ring,
    pub score_buffers: usize,
    pub steps: Vec<Step>,
    /// Weights and row scales.
    pub packed: Packed,
}

/// Compile a model for a core: `window` slots (1 to 1024) in each ring, the
/// first `sinks` of which keep a stream's first tokens.
///
/// # Errors
/// If the model is not well formed, or what the core lacks, by how much.
pub(crate) fn compile(
    model: &QuantModel,
    core: &CoreShape,
    window: usize,
    sinks: usize,
) -> Result<Compiled, CompileError> {
    model.check()?;
    legal_shifts(model)?;
    let ring = ring(core.rows, window, sinks)?;
    let config = Config::of(model);
    let layout = Layout::new(&config, ring);
    let score_buffers = needs::score_buffers(&config, &layout, core.score_words);
    let needs = Needs::of(&config, &layout, score_buffers);
    if let Err(error) = needs.check(core) {
        let window = longest_window(&config, core, sinks, window);
        return Err(needs.check_core(core, window).err().unwrap_or(error));
    }
    needs.check_encoding()?;
    check_rows(model)?;
    Ok(Compiled {
        steps: program(&config, &layout, score_buffers),
        packed: pack_all(model, &layout)?,
        config,
        ring,
        score_buffers,
    })
}

/// A ring on a core of `rows` rows.
///
/// # Errors
/// If not `0 <= sinks < window <= 1024`.
pub fn ring(rows: u32, window: usize, sinks: usize) -> Result<Ring, CompileError> {
    if !(1..=MAX_WINDOW).contains(&window) {
        return Err(CompileError::Window(window));
    }
    if sinks >= window {
        return Err(CompileError::Sinks { sinks, window });
    }
    Ok(Ring {
        rows,
        window: window as u32,
        sinks: sinks as u32,
    })
}

/// The longest window up to `most` with which a model of these sizes fits.
pub fn longest_window(
    config: &Config,
    core: &CoreShape,
    sinks: usize,
    most: usize,
) -> Option<usize> {
    (sinks + 1..=most.min(MAX_WINDOW)).rev().find(|&window| {
        let ring = Ring {
            rows: core.rows,
            window: window as u32,
            sinks: sinks as u32,
        };
        let layout = Layout::new(config, ring);
        let buffers = score_buffers(config, &layout, core.score_words);
        Needs::of(config, &layout, buffers).check(core).is_ok()
    })
}

/// Sine (low half) and cosine (high half) of each pair at position `W - 1`,
/// which sinks are read at once the ring has wrapped; none without sinks.
pub(crate) fn far(ring: Ring, increments: &[u32]) -> Vec<u32> {
    let increments = if ring.sinks > 0 { increments } else { &[] };
    increments
        .iter()
        .map(|&increment| {
            let rotation = Rotation::by(phase(ring.window - 1, increment));
            u32::from(rotation.sin as u16) | u32::from(rotation.cos as u16) << 16
        })
        .collect()
}

/// A core adds a position's row to a token's row that it has already saturated,
/// the arithmetic saturates their sum: equal only where the token's rows fit.
fn check_rows(model: &QuantModel) -> Result<(), CompileError> {
    let Embedding::Own {
        table,
        positions: Some(_),
        fraction_bits,
    } = &model.embedding
    else {
        return Ok(());
    };
    let fits = |token: &usize| {
        let (row, s, mu) = table.row(*token);
        let sh = stage::row_shift(s, *fraction_bits);
        row.iter()
            .all(|&w| i16::try_from(stage::row_embedding(w, mu, sh)).is_ok())
    };
    match (0..table.rows).find(|token| !fits(token)) {
        Some(token) => Err(CompileError::EmbeddingRange(token)),
        None => Ok(()),
    }
}

fn pack_all(model: &QuantModel, layout: &Layout) -> Result<Packed, CompileError> {
    let rows = layout.ring.rows as usize;
    let mut packed = Packed::new(rows, layout.weight_words, layout.scales);
    if let Embedding::Own {
        table, positions, ..
    } = &model.embedding
    {
        for (placed, matrix) in [
            (&layout.embedding, Some(table)),
            (&layout.positions, positions.as_ref()),
        ] {
            if let (Some(placed), Some(matrix)) = (placed, matrix) {
                packed.put(placed, matrix);
            }
        }
    }
    for (l, (layer, placed)) in model.layers.iter().zip(&layout.layers).enumerate() {
        packed.put(&placed.wv, &layer.wv);
        packed.put(&placed.wk, &layer.wk);
        packed.put(&placed.wq, &layer.wq);
        packed.put(&placed.wo, &layer.wo);
        match &layer.w3 {
            None => packed.put(&placed.gate_up, &layer.w1),
            Some(w3) => {
                let fold = up_fold(&layer.formats);
                let fits = |s: i32| (-32..32).contains(&s);
                let folded = |row: usize| i32::from(w3.s[row]) + fold;
                if let Some(row) = (0..w3.rows).find(|&row| !fits(folded(row))) {
                    return Err(CompileError::UpScale {
                        layer: l,
                        row,
                        s: folded(row),
                    });
                }
                packed.put(&placed.gate_up, &interleave(&layer.w1, w3, fold));
            }
        }
        packed.put(&placed.down, &layer.w2);
    }
    packed.put(&layout.classifier, &model.classifier);
    Ok(packed)
}

/// What the exponents of up rows gain: their step's shift is the gate's, and
/// `s + FG - FU` makes it theirs.
pub(crate) fn up_fold(formats: &Formats) -> i32 {
    i32::from(formats.gate) - i32::from(formats.up)
}

/// Rows of `gate` and `up` in turn, the exponents of `up` raised by `fold`.
fn interleave(gate: &Matrix, up: &Matrix, fold: i32) -> Matrix {
    let rows = (0..gate.rows).flat_map(|row| [(gate, row, 0), (up, row, fold)]);
    let mut both = Matrix {
        rows: 2 * gate.rows,
        cols: gate.cols,
        w: vec![],
        s: vec![],
        mu: vec![],
        groups: gate.groups.as_ref().map(|_| vec![]),
    };
    for (matrix, row, fold) in rows {
        let (w, s, mu) = matrix.row(row);
        both.w.extend(w);
        if let Some(groups) = &mut both.groups {
            groups.extend(matrix.row_groups(row));
        }
        both.s.push((i32::from(s) + fold) as i8);
        both.mu.push(mu);
    }
    both
}

/// The two matrices that [`interleave`] put together.
pub(crate) fn split(both: &Matrix, fold: i32) -> (Matrix, Matrix) {
    let every_other = |first: usize, fold: i32| {
        let rows = (first..both.rows).step_by(2);
        Matrix {
            rows: both.rows / 2,
            cols: both.cols,
            w: rows
                .clone()
                .flat_map(|row| both.row(row).0)
                .copied()
                .collect(),
            s: rows
                .clone()
                .map(|row| (i32::from(both.s[row]) - fold) as i8)
                .collect(),
            mu: rows.clone().map(|row| both.mu[row]).collect(),
            groups: both
                .groups
                .as_ref()
                .map(|_| rows.flat_map(|row| both.row_groups(row)).copied().collect()),
        }
    };
    (every_other(0, 0), every_other(1, fold))
}
