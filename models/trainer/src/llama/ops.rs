//! What candle would take many passes over memory for, in one each, with its gradient.

use std::f32::consts::LOG2_E;

use candle_core::{bail, CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::quant::{self, WeightBits};

/// The numbers of a contiguous float32 tensor.
pub fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the operation needs a contiguous tensor");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `f` with the numbers of contiguous tensors.
pub fn with_floats<T, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> T,
) -> Result<T> {
    let contiguous = tensors.map(|tensor| tensor.contiguous());
    let mut owned = Vec::with_capacity(N);
    for tensor in contiguous {
        owned.push(tensor?);
    }
    let guards: Vec<_> = owned.iter().map(|t| t.storage_and_layout()).collect();
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            candle_core::Storage::Cpu(storage) => *slice = floats(storage, layout)?,
            _ => bail!("the operation runs on a CPU only"),
        }
    }
    Ok(f(slices))
}

/// `2^x` for `x` of at most 0, to 2e-7; what would underflow is about 2^-126. Without
/// calls or branches, so that a loop of it becomes vector instructions.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let x = x.max(-126.0);
    let whole = x.floor();
    let f = x - whole;
    // Minimax polynomial of 2^f over 0 to 1.
    let p = 1.877_576_7e-3_f32
        .mul_add(f, 8.989_34e-3)
        .mul_add(f, 5.582_631_8e-2)
        .mul_add(f, 2.401_536_1e-1)
        .mul_add(f, 6.931_531e-1)
        .mul_add(f, 9.999_999_4e-1);
    p * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// The last dimension.
fn width(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1)
}

/// Divides each row by its root mean square; with `quantize`, rows are int8 as a
/// matrix reads them, though the mean square is of what they were.
pub struct RmsNorm {
    /// Added to the mean square.
    pub eps: f32,
    /// Rows as the integer pipeline reads them.
    pub quantize: bool,
}

impl RmsNorm {
    fn inverse_root(&self, row: &[f32]) -> f32 {
        let mean_square = row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
        1.0 / (mean_square + self.eps).sqrt()
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = floats(storage, layout)?.to_vec();
        for row in y.chunks_exact_mut(width(layout)) {
            let scale = self.inverse_root(row);
            if self.quantize {
                quant::block(row);
            }
            row.iter_mut().for_each(|x| *x *= scale);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = arg.dims().last().copied().unwrap_or(1);
        let dx = with_floats([arg, grad], |[x, dy]| {
            let mut dx = vec![0.0; x.len()];
            let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
            for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                let scale = self.inverse_root(x);
                let along = x.iter().zip(dy).map(|(x, dy)| x * dy).sum::<f32>();
                let along = along * scale * scale / width as f32;
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = scale * (dy - along * x);
                }
            }
            dx
        })?;
        Ok(Some(Tensor::from_vec(dx, arg.shape(), arg.device())?))
    }
}

/// `silu(gate) * up` of rows that hold the gate, then up.
pub struct SwiGlu {
    /// The result as the integer pipeline stores it.
    pub quantize: bool,
}

/// `e^x` for `x` of at most 0.
#[inline(always)]
fn exp(x: f32) -> f32 {
    exp2(x * LOG2_E)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let s = 1.0 / (1.0 + small);
    if x < 0.0 {
        small * s
    } else {
        s
    }
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let (rows, width) = layout.shape().dims2()?;
        let mut hidden = Vec::with_capacity(x.len() / 2);
        for row in x.chunks_exact(width) {
            let (gate, up) = row.split_at(width / 2);
            let start = hidden.len();
            hidden.extend(gate.iter().zip(up).map(|(g, u)| g * sigmoid(*g) * u));
            if self.quantize {
                quant::block(&mut hidden[start..]);
            }
        }
        Ok((CpuStorage::F32(hidden), (rows, width / 2).into()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = arg.dims2()?;
        let half = width / 2;
        let dx = with_floats([arg, grad], |[x, dh]| {
            let mut dx = vec![0.0; x.len()];
            let rows = x.chunks_exact(width).zip(dh.chunks_exact(half));
            for (dx, (x, dh)) in dx.chunks_exact_mut(width).zip(rows) {
                let ((gate, up), (dgate, dup)) = (x.split_at(half), dx.split_at_mut(half));
                for i in 0..half {
                    let s = sigmoid(gate[i]);
                    dup[i] = dh[i] * gate[i] * s;
                    dgate[i] = dh[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
                }
            }
            dx
        })?;
        Ok(Some(Tensor::from_vec(dx, arg.shape(), arg.device())?))
    }
}

/// Rows of weights as integers with their best scales; the gradient passes straight through.
pub struct QuantizeWeights {
    /// Bits of a weight.
    pub bits: WeightBits,
    /// What the quantizer multiplies the weights by ([`quant::grouped_weights`]).
    pub factor: f32,
}

impl CustomOp1 for QuantizeWeights {
    fn name(&self) -> &'static str {
        "quantize-weights"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut w = floats(storage, layout)?.to_vec();
        let rows = w.chunks_exact_mut(width(layout));
        match self.bits {
            WeightBits::Eight => rows.for_each(quant::weights),
            WeightBits::Four => rows.for_each(|row| quant::grouped_weights(row, self.factor)),
        }
        Ok((CpuStorage::F32(w), layout.shape().clone()))
    }

    fn bwd(&self, _arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}

/// Mean cross-entropy of rows of logits against one target a row, in nats.
pub struct CrossEntropy {
    /// The symbol that each row should have predicted.
    pub targets: Vec<u32>,
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(row: &[f32]) -> f32 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    top + row.iter().map(|x| exp(x - top)).sum::<f32>().ln()
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = floats(storage, layout)?;
        let rows = logits.chunks_exact(width(layout));
        let total: f64 = rows
            .zip(&self.targets)
            .map(|(row, &target)| f64::from(log_sum_exp(row) - row[target as usize]))
            .sum();
        let mean = total / self.targets.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), ().into()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = arg.dims2()?;
        let share = grad.to_scalar::<f32>()? / rows as f32;
        let dx = with_floats([arg], |[logits]| {
            let mut dx = logits.to_vec();
            for (row, &target) in dx.chunks_exact_mut(width).zip(&self.targets) {
                let log_sum = log_sum_exp(row);
                row.iter_mut().for_each(|x| *x = exp(*x - log_sum) * share);
                row[target as usize] -= share;
            }
            dx
        })?;
        Ok(Some(Tensor::from_vec(dx, arg.shape(), arg.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn powers_of_two() {
        for i in 0..126_000 {
            let x = -(i as f32) / 1000.0;
            let (is, should) = (f64::from(exp2(x)), f64::from(x).exp2());
            assert!((is / should - 1.0).abs() < 1e-6, "{x}: {is} {should}");
        }
        assert!(exp2(-1e9) < 1e-37);
    }

    /// Holds an operation and its gradient against a definition in float64.
    fn check(
        op: impl CustomOp1 + Send + Sync + 'static,
        shape: (usize, usize),
        definition: impl Fn(&[f64]) -> Vec<f64>,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random =
            |count| -> Vec<f32> { (0..count).map(|_| rng.random_range(-3.0..3.0)).collect() };
        let x = random(shape.0 * shape.1);
        let exact: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        let expected = definition(&exact);
        let weights = random(expected.len());
        let var = Var::from_vec(x, shape, &Device::Cpu).unwrap();
        let y = var.apply_op1(op).unwrap();
        let found: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
        let by = Tensor::from_vec(weights.clone(), y.shape(), &Device::Cpu).unwrap();
        let gradients = (y * by).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient: Vec<f32> = gradients
            .get(&var)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let sum = |x: &[f64]| -> f64 {
            definition(x)
                .iter()
                .zip(&weights)
                .map(|(y, &w)| y * f64::from(w))
                .sum()
        };
        for at in 0..exact.len() {
            let moved = |by: f64| {
                let mut x = exact.clone();
                x[at] += by;
                sum(&x)
            };
            let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            assert!(
                (f64::from(gradient[at]) - slope).abs() < 1e-3,
                "{at}: {} {slope}",
                gradient[at]
            );
        }
    }

    #[test]
    fn norms() {
        let op = RmsNorm {
            eps: 1e-5,
            quantize: false,
        };
        check(op, (3, 7), |x| {
            let norm = |row: &[f64]| {
                let mean = row.iter().map(|x| x * x).sum::<f64>() / 7.0;
                row.iter()
                    .map(|x| x / (mean + 1e-5).sqrt())
                    .collect::<Vec<_>>()
            };
            x.chunks(7).flat_map(norm).collect()
        });
    }

    #[test]
    fn gated_units() {
        check(SwiGlu { quantize: false }, (3, 8), |x| {
            let unit = |row: &[f64]| -> Vec<f64> {
                (0..4)
                    .map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[4 + i])
                    .collect()
            };
            x.chunks(8).flat_map(unit).collect()
        });
    }

    #[test]
    fn losses() {
        let targets = vec![4, 0, 2];
        check(
            CrossEntropy {
                targets: targets.clone(),
            },
            (3, 5),
            |x| {
                let loss = |(row, &target): (&[f64], &u32)| {
                    row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[target as usize]
                };
                vec![x.chunks(5).zip(&targets).map(loss).sum::<f64>() / 3.0]
            },
        );
    }
}
