//! Is a quantized model one that the arithmetic is defined for, and can
//! hardware shift by everything it may ask for?

use crate::config::{HEAD_SIZE, VOCAB};
pub use crate::config::{MAX_DIM, MAX_HIDDEN};
use crate::quant::{Embedding, Layer, Matrix, QuantModel};
use annulus_contract::fixed::len;
use annulus_contract::sigmoid;
use annulus_contract::stage::{
    embedding_norm_shift, is_legal_row_shift, is_legal_shift, matvec_shift, row_shift, score_shift,
    tied_shift,
};
use annulus_contract::step::{GROUP, GROUP_SCALE, NIBBLE};

/// Most elements a head.
pub const MAX_HEAD_SIZE: u64 = *HEAD_SIZE.end();
/// Epsilons lie below this, so that `rsqrt`'s argument stays below 2^41.
pub const EPS_LIMIT: u64 = 1 << 30;

/// Why a quantized model is not well formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A number outside its range.
    #[error("{field} is {value}, which is not within {min} to {max}")]
    Range {
        /// Which number.
        field: String,
        /// Its value.
        value: i64,
        /// The smallest legal value.
        min: i64,
        /// The largest legal value.
        max: i64,
    },
    /// Two numbers that must be equal and are not.
    #[error("{field} is {value}, but {expected} is needed")]
    Mismatch {
        /// Which number.
        field: String,
        /// Its value.
        value: usize,
        /// What it must be.
        expected: usize,
    },
    /// A rule that no single number breaks.
    #[error("{0}")]
    Rule(&'static str),
}

/// A shift that some input could lead to and no hardware can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} may shift by {low} to {high}, but a core shifts right by 0 to 31 only")]
pub struct IllegalShift {
    /// Which output stage, with layer and row.
    pub place: String,
    /// The smallest shift that can be reached.
    pub low: i32,
    /// The largest shift that can be reached.
    pub high: i32,
}

impl QuantModel {
    /// Check shapes and ranges: a model that passes never makes the reference
    /// index out of bounds or overflow. What it may still do is ask for an
    /// illegal shift; that is [`legal_shifts`].
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn check(&self) -> Result<(), CheckError> {
        range("dim", self.dim, 1, MAX_DIM)?;
        range("heads", self.heads, 1, self.dim)?;
        range("hidden", self.hidden, 1, MAX_HIDDEN)?;
        range(
            "head_size",
            self.head_size,
            *HEAD_SIZE.start(),
            MAX_HEAD_SIZE,
        )?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        range("vocab", self.vocab, *VOCAB.start(), *VOCAB.end())?;
        equal("heads * head_size", self.heads * self.head_size, self.dim)?;
        rule(self.head_size.is_multiple_of(2), "head_size is odd")?;
        rule(
            self.heads.is_multiple_of(self.kv_heads),
            "kv_heads does not divide heads",
        )?;
        rule(
            !self.hadamard || self.head_size.is_power_of_two(),
            "a Hadamard rotation needs a head_size that is a power of two",
        )?;
        range("residual_bits", self.residual_bits, 0, 15)?;
        range("logit_bits", self.logit_bits, 1, 23)?;
        range("igsh", self.igsh, -32, 31)?;
        range("eps", self.eps, 1, EPS_LIMIT - 1)?;
        if let Some(eps) = self.embedding_norm {
            range("embedding_norm", eps, 1, EPS_LIMIT - 1)?;
        }
        if let Some(rope) = &self.rope {
            equal("rope increments", rope.len(), self.head_size / 2)?;
        }
        self.check_embedding()?;
        for (l, layer) in self.layers.iter().enumerate() {
            self.check_layer(l, layer)?;
        }
        rule(
            self.layers
                .iter()
                .flat_map(Layer::matrices)
                .all(|(_, matrix)| matrix.weight_bits() == self.weight_bits()),
            "some matrices have 4-bit weights and some have not",
        )?;
        table("classifier", &self.classifier, self.vocab, self.dim)
    }

    fn check_embedding(&self) -> Result<(), CheckError> {
        match &self.embedding {
            Embedding::Tied { ig } => equal("embedding gains", ig.len(), self.dim),
            Embedding::Own {
                table,
                positions,
                fraction_bits,
            } => {
                range("embedding fraction_bits", *fraction_bits, 0, 31)?;
                rule(
                    self.embedding_norm.is_some() || *fraction_bits == self.residual_bits,
                    "an embedding without a norm must have the residual's fraction bits",
                )?;
                self::table("embedding", table, self.vocab, self.dim)?;
                positions.as_ref().map_or(Ok(()), |positions| {
                    rule(
                        positions.rows.is_power_of_two(),
                        "the number of learned positions is not a power of two",
                    )?;
                    self::table("positions", positions, positions.rows, self.dim)
                })
            }
        }
    }

    fn check_layer(&self, l: usize, layer: &Layer) -> Result<(), CheckError> {
        let kv_dim = self.kv_heads * self.head_size;
        let f = &layer.formats;
        for (name, bits) in [
            ("q", f.q),
            ("k", f.k),
            ("v", f.v),
            ("gate", f.gate),
            ("up", f.up),
            ("hidden", f.hidden),
        ] {
            range(&format!("layer {l} {name} fraction bits"), bits, 0, 31)?;
        }
        let of = |name| format!("layer {l} {name}");
        matrix(&of("wq"), &layer.wq, self.dim, self.dim)?;
        matrix(&of("wk"), &layer.wk, kv_dim, self.dim)?;
        matrix(&of("wv"), &layer.wv, kv_dim, self.dim)?;
        matrix(&of("wo"), &layer.wo, self.dim, self.dim)?;
        matrix(&of("w1"), &layer.w1, self.hidden, self.dim)?;
        matrix(&of("w2"), &layer.w2, self.dim, self.hidden)?;
        match &layer.w3 {
            Some(w3) if !self.relu => {
                let (min, max) = (sigmoid::MIN_FRACTION_BITS, sigmoid::MAX_FRACTION_BITS);
                range(&of("gate fraction bits"), f.gate, min, max)?;
                matrix(&of("w3"), w3, self.hidden, self.dim)
            }
            None if self.relu => equal(
                &of("hidden fraction bits (ReLU)"),
                f.hidden.into(),
                f.gate.into(),
            ),
            Some(_) => rule(false, "a ReLU model has a w3"),
            None => rule(false, "a SwiGLU model has no w3"),
        }
    }
}

/// Prove that every output stage's shift is legal for every norm `k` and block
/// exponent `e` that int16 vectors can reach (`docs/arithmetic.md` section 4).
/// The model has passed [`QuantModel::check`].
///
/// # Errors
/// The first stage that may meet an illegal shift.
pub fn legal_shifts(model: &QuantModel) -> Result<(), IllegalShift> {
    let normed = normed_shifts(model.dim, model.eps);
    // A vector read without a norm: k = 0, e = 0 to 8.
    let plain = (-8, 0);
    embedding_shifts(model)?;
    for (l, layer) in model.layers.iter().enumerate() {
        let f = &layer.formats;
        let of = |name| format!("layer {l} {name}");
        matvec_shifts(&of("wq"), &layer.wq, normed, f.q, 0)?;
        matvec_shifts(&of("wk"), &layer.wk, normed, f.k, 0)?;
        matvec_shifts(&of("wv"), &layer.wv, normed, f.v, 0)?;
        matvec_shifts(&of("wo"), &layer.wo, plain, model.residual_bits, f.v)?;
        matvec_shifts(&of("w1"), &layer.w1, normed, f.gate, 0)?;
        if let Some(w3) = &layer.w3 {
            matvec_shifts(&of("w3"), w3, normed, f.up, 0)?;
            let shift = i32::from(f.gate) + i32::from(f.up) - i32::from(f.hidden);
            legal(|| of("SwiGLU"), shift, shift)?;
        }
        matvec_shifts(&of("w2"), &layer.w2, plain, model.residual_bits, f.hidden)?;
        // The rotation adds log2(head_size) bits to q and k, and so to their exponents.
        let stages = model.hadamard_stages();
        let max_e = 8 + stages as u8;
        legal(
            || of("scores"),
            score_shift(f.q, f.k, stages, max_e, max_e),
            score_shift(f.q, f.k, stages, 0, 0),
        )?;
    }
    if model.final_norm {
        matvec_shifts("classifier", &model.classifier, normed, model.logit_bits, 0)
    } else {
        matvec_shifts(
            "classifier",
            &model.classifier,
            plain,
            model.logit_bits,
            model.residual_bits,
        )
    }
}

/// Smallest and largest `k - e` of a fused norm over `dim` int16 values.
///
/// `k` and `e` move together: a block with exponent `e` has a largest
/// magnitude of about `2^(7+e)`, which bounds its sum of squares both ways.
pub(crate) fn normed_shifts(dim: usize, eps: u64) -> (i32, i32) {
    let k = |t: u64| (len(t) as i32 - 1) >> 1;
    (0..=8).fold((i32::MAX, i32::MIN), |(low, high), e| {
        let least = if e == 0 { 0 } else { 1u64 << (6 + e) };
        let most = 1u64 << (7 + e);
        let below = k(least * least + eps) - e;
        let above = k(dim as u64 * most * most + eps) - e;
        (low.min(below), high.max(above))
    })
}

fn matvec_shifts(
    name: &str,
    matrix: &Matrix,
    (low, high): (i32, i32),
    f_out: u8,
    f_x: u8,
) -> Result<(), IllegalShift> {
    matrix.s.iter().enumerate().try_for_each(|(row, &s)| {
        let base = matvec_shift(0, s, 0, f_out, f_x);
        legal(|| format!("{name} row {row}"), base + low, base + high)
    })
}

fn embedding_shifts(model: &QuantModel) -> Result<(), IllegalShift> {
    match &model.embedding {
        Embedding::Tied { .. } => {
            for (row, &s) in model.classifier.s.iter().enumerate() {
                let shift = tied_shift(s, model.igsh, model.residual_bits);
                legal(|| format!("embedding row {row}"), shift, shift)?;
            }
        }
        Embedding::Own {
            table,
            positions,
            fraction_bits,
        } => {
            let tables = [
                ("embedding", Some(table)),
                ("positions", positions.as_ref()),
            ];
            for (name, table) in tables.into_iter().filter_map(|(n, t)| t.map(|t| (n, t))) {
                for (row, &s) in table.s.iter().enumerate() {
                    let shift = row_shift(s, *fraction_bits);
                    if !is_legal_row_shift(shift) {
                        let place = format!("{name} row {row}");
                        return Err(IllegalShift {
                            place,
                            low: shift,
                            high: shift,
                        });
                    }
                }
            }
        }
    }
    if let Some(eps) = model.embedding_norm {
        let k = |t: u64| ((len(t) - 1) >> 1) as u8;
        let shift = |k| embedding_norm_shift(k, model.igsh, model.residual_bits);
        let most = ((model.dim as u64) << 30) + eps;
        legal(|| "embedding norm".into(), shift(k(eps)), shift(k(most)))?;
    }
    Ok(())
}

fn legal(place: impl Fn() -> String, low: i32, high: i32) -> Result<(), IllegalShift> {
    if is_legal_shift(low) && is_legal_shift(high) {
        Ok(())
    } else {
        Err(IllegalShift {
            place: place(),
            low,
            high,
        })
    }
}

fn matrix(name: &str, m: &Matrix, rows: usize, cols: usize) -> Result<(), CheckError> {
    equal(&format!("{name} rows"), m.rows, rows)?;
    equal(&format!("{name} columns"), m.cols, cols)?;
    equal(&format!("{name} weights"), m.w.len(), rows * cols)?;
    equal(&format!("{name} row exponents"), m.s.len(), rows)?;
    equal(&format!("{name} row multipliers"), m.mu.len(), rows)?;
    m.w.iter().try_for_each(|&w| range(name, w, -127, 127))?;
    m.s.iter()
        .try_for_each(|&s| range(&format!("{name} row exponent"), s, -32, 31))?;
    m.mu.iter()
        .try_for_each(|&mu| range(&format!("{name} row multiplier"), mu, 5, 8))?;
    let Some(groups) = &m.groups else {
        return Ok(());
    };
    let a_row = m.groups_a_row();
    equal(&format!("{name} groups"), groups.len(), rows * a_row)?;
    let of = format!("{name} group scale");
    let [least, most] = GROUP_SCALE;
    groups
        .iter()
        .try_for_each(|&g| range(&of, g, least, most))?;
    let exact = (0..rows).all(|row| {
        let mut words = m.row(row).0.chunks(GROUP).zip(m.row_groups(row));
        words.all(|(w, &g)| w.iter().all(|&w| nibble(w, g).is_some()))
    });
    rule(
        exact,
        "a 4-bit weight is not its group's scale times -8 to 7",
    )
}

/// A matrix whose rows are read one by one as well: it has 8-bit weights.
fn table(name: &str, m: &Matrix, rows: usize, cols: usize) -> Result<(), CheckError> {
    rule(
        m.groups.is_none(),
        "a table or the classifier has 4-bit weights",
    )?;
    matrix(name, m, rows, cols)
}

/// The nibble n with `w = g * n`, if there is one.
pub(crate) fn nibble(w: i8, g: u8) -> Option<i8> {
    let g = g as i8;
    let [least, most] = NIBBLE;
    Some(w / g).filter(|n| (least..=most).contains(n) && n * g == w)
}

pub(crate) fn range<T, B>(field: &str, value: T, min: B, max: B) -> Result<(), CheckError>
where
    T: TryInto<i64>,
    B: TryInto<i64>,
{
    // A number too large for 64 signed bits is out of every range here.
    let wide = |v: Result<i64, _>| v.unwrap_or(i64::MAX);
    let (value, min, max) = (
        wide(value.try_into().map_err(drop)),
        wide(min.try_into().map_err(drop)),
        wide(max.try_into().map_err(drop)),
    );
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(CheckError::Range {
            field: field.into(),
            value,
            min,
            max,
        })
    }
}

fn equal(field: &str, value: usize, expected: usize) -> Result<(), CheckError> {
    if value == expected {
        Ok(())
    } else {
        Err(CheckError::Mismatch {
            field: field.into(),
            value,
            expected,
        })
    }
}

fn rule(holds: bool, broken: &'static str) -> Result<(), CheckError> {
    if holds {
        Ok(())
    } else {
        Err(CheckError::Rule(broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{random_model, Rng, Shape};

    fn broken(edit: impl FnOnce(&mut QuantModel)) -> String {
        let mut model = Shape {
            relu: false,
            ..Shape::random(&mut Rng::new(5))
        }
        .model(5);
        assert_eq!(model.check(), Ok(()));
        edit(&mut model);
        model.check().expect_err("broken").to_string()
    }

    #[test]
    fn faults_are_named() {
        let heads = broken(|m| m.heads += 1);
        assert!(heads.starts_with("heads * head_size is "), "{heads}");
        let dim = broken(|m| m.dim = 4000);
        assert_eq!(dim, "dim is 4000, which is not within 1 to 2047");
        let weights = broken(|m| m.layers[0].wo.w.truncate(1));
        assert!(weights.starts_with("layer 0 wo weights is "), "{weights}");
        let weight = broken(|m| m.classifier.w[1] = -128);
        assert_eq!(
            weight,
            "classifier is -128, which is not within -127 to 127"
        );
        let s = broken(|m| m.classifier.s[1] = 32);
        assert_eq!(
            s,
            "classifier row exponent is 32, which is not within -32 to 31"
        );
        let mu = broken(|m| m.layers[0].w2.mu[0] = 4);
        assert_eq!(
            mu,
            "layer 0 w2 row multiplier is 4, which is not within 5 to 8"
        );
        assert_eq!(broken(|m| m.relu = true), "a ReLU model has a w3");
        assert_eq!(
            broken(|m| m.layers[0].w3 = None),
            "a SwiGLU model has no w3"
        );
        assert_eq!(
            broken(|m| m.eps = 0),
            "eps is 0, which is not within 1 to 1073741823"
        );
        assert_eq!(
            broken(|m| m.eps = u64::MAX),
            format!("eps is {}, which is not within 1 to 1073741823", i64::MAX)
        );
    }

    #[test]
    fn illegal_shifts_are_found() {
        let mut model = random_model(8);
        assert_eq!(legal_shifts(&model), Ok(()));
        model.layers[0].wv.s[0] = 31;
        let found = legal_shifts(&model).unwrap_err();
        assert_eq!(found.place, "layer 0 wv row 0");
        assert!(found.high > 31);
    }

    /// The proof covers what streams do: k - e of random vectors lies within.
    #[test]
    fn normed_shifts_bound_random_vectors() {
        let mut rng = Rng::new(1);
        for _ in 0..20_000 {
            let (dim, eps) = (
                rng.within(1, 40) as usize,
                u64::from(rng.bits() >> rng.within(2, 31)).max(1),
            );
            let down = rng.within(0, 15);
            let x: Vec<i32> = (0..dim)
                .map(|_| rng.within(-32768, 32767) >> down)
                .collect();
            let t = x
                .iter()
                .map(|&x| (i64::from(x) * i64::from(x)) as u64)
                .sum::<u64>()
                + eps;
            let k = i32::from(annulus_contract::rsqrt::rsqrt(t).k);
            let e = i32::from(annulus_contract::block::encode_block(&x, &mut vec![0; dim]).e);
            let (low, high) = normed_shifts(dim, eps);
            assert!(
                (low..=high).contains(&(k - e)),
                "{} not in {low}..={high}",
                k - e
            );
        }
    }
}
