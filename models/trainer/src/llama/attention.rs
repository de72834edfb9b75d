//! Grouped-query attention over a sliding window, with rotary positions.
//!
//! Queries go sixteen at a time, one a lane, past the keys that any of them may
//! see; nothing of the size positions x positions is ever stored, so that a
//! sequence may be as long as memory holds its activations. The backward pass
//! computes the shares anew.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use wide::f32x16;

use super::ops::{exp2, floats, with_floats};
use super::quant;

/// Queries at a time.
const LANES: usize = 16;
/// Elements a head: as many as lanes, so that sixteen queries are a square.
pub const HEAD_SIZE: usize = LANES;
const PAIRS: usize = HEAD_SIZE / 2;
/// The score of a key that a query does not see.
const UNSEEN: f32 = -1e30;

/// Attention, from rows that hold queries, keys and values to rows of mixed values.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Positions a sequence; the rows are whole sequences.
    pub positions: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Positions that a query sees, its own included.
    pub window: usize,
    /// Base of the rotary positions.
    pub rope_theta: f64,
    /// Queries, keys, values, shares and the result as the integer pipeline stores them.
    pub quantize: bool,
}

/// Cosines and sines of every position, `positions x PAIRS`.
struct Rotations(Vec<[(f32, f32); PAIRS]>);

impl Rotations {
    fn new(positions: usize, theta: f64) -> Self {
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / HEAD_SIZE as f64);
        let frequencies: [f64; PAIRS] = std::array::from_fn(frequency);
        let at = |position: usize| {
            frequencies.map(|f| {
                let (sin, cos) = (position as f64 * f).sin_cos();
                (cos as f32, sin as f32)
            })
        };
        Self((0..positions).map(at).collect())
    }

    /// Turns the pairs `(c, c + PAIRS)` of a head, as the Llama layout has them.
    fn turn(&self, position: usize, x: &mut [f32], direction: f32) {
        for (c, &(cos, sin)) in self.0[position].iter().enumerate() {
            let (a, b, sin) = (x[c], x[c + PAIRS], sin * direction);
            x[c] = a * cos - b * sin;
            x[c + PAIRS] = a * sin + b * cos;
        }
    }
}

/// One head's rows, one a position.
type Head = Vec<f32x16>;

/// One sequence's heads, ready to be multiplied.
struct Heads {
    queries: Vec<Head>,
    keys: Vec<Head>,
    values: Vec<Head>,
}

/// Sixteen queries, and the keys that any of them may see.
struct Block {
    /// Position of the first query.
    first: usize,
    /// Queries that there are; lanes past them see what they should not, and are dropped.
    count: usize,
    keys: Range<usize>,
}

impl Block {
    fn new(first: usize, positions: usize, window: usize) -> Self {
        let count = LANES.min(positions - first);
        let keys = (first + 1).saturating_sub(window)..first + count;
        Self { first, count, keys }
    }

    /// The block's rows of a head, as columns; rows past the end are zero.
    fn columns(&self, head: &[f32x16]) -> [f32x16; HEAD_SIZE] {
        let mut rows = [f32x16::ZERO; LANES];
        rows[..self.count].copy_from_slice(&head[self.first..][..self.count]);
        f32x16::transpose(rows)
    }
}

/// The first sixteen numbers of `row`.
fn load(row: &[f32]) -> f32x16 {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&row[..LANES]);
    f32x16::new(lanes)
}

/// `sums[c] += row[c] * x` for each lane of `x`.
#[inline(always)]
fn add_outer(sums: &mut [f32x16; HEAD_SIZE], row: &f32x16, x: f32x16) {
    for (sum, &r) in sums.iter_mut().zip(row.as_array()) {
        *sum = f32x16::splat(r).mul_add(x, *sum);
    }
}

/// `sum_c row[c] * columns[c]` for each lane.
#[inline(always)]
fn dot(row: &f32x16, columns: &[f32x16; HEAD_SIZE]) -> f32x16 {
    // Four chains, so that no addition waits for the one before.
    let mut sums = [f32x16::ZERO; 4];
    for (c, (&r, column)) in row.as_array().iter().zip(columns).enumerate() {
        sums[c % 4] = f32x16::splat(r).mul_add(*column, sums[c % 4]);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

impl Attention {
    fn row_width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * HEAD_SIZE
    }

    /// Splits a sequence into heads, turned and in their formats.
    fn heads(&self, rows: &[f32], rotations: &Rotations) -> Heads {
        let width = self.row_width();
        let column = |index: usize| -> Head {
            let from = index * HEAD_SIZE;
            rows.chunks_exact(width)
                .map(|row| load(&row[from..]))
                .collect()
        };
        let turned = |index: usize| -> Head {
            let mut head = column(index);
            for (position, x) in head.iter_mut().enumerate() {
                let x = x.as_mut_array();
                rotations.turn(position, x, 1.0);
                if self.quantize {
                    quant::quarter_octave(x);
                }
            }
            head
        };
        let first_value = self.heads + self.kv_heads;
        let mut values: Vec<Head> = (0..self.kv_heads)
            .map(|h| column(first_value + h))
            .collect();
        if self.quantize {
            let all = values.iter().flatten().flat_map(|v| v.to_array());
            let peak = all.fold(0.0, |m: f32, v| m.max(v.abs()));
            let rows = values.iter_mut().flatten();
            rows.for_each(|v| quant::fixed(v.as_mut_array(), peak));
        }
        Heads {
            queries: (0..self.heads).map(turned).collect(),
            keys: (0..self.kv_heads).map(|h| turned(self.heads + h)).collect(),
            values,
        }
    }

    /// The shares of each of the block's keys for each query, a query a lane, and the
    /// inverse of their sums.
    fn shares(
        &self,
        block: &Block,
        queries: &[f32x16; HEAD_SIZE],
        keys: &[f32x16],
        shares: &mut Vec<f32x16>,
    ) -> f32x16 {
        let to_log2 = LOG2_E / (HEAD_SIZE as f32).sqrt();
        let queries = queries.map(|q| q * to_log2);
        let lane = f32x16::new(std::array::from_fn(|lane| lane as f32));
        let unseen = f32x16::splat(UNSEEN);
        shares.clear();
        let mut top = unseen;
        for key in block.keys.clone() {
            // Seen from the key's own position on, as long as the window reaches.
            let from = key as f32 - block.first as f32;
            let seen = lane.simd_ge(f32x16::splat(from))
                & lane.simd_le(f32x16::splat(from + (self.window - 1) as f32));
            let score = seen.select(dot(&keys[key], &queries), unseen);
            top = top.fast_max(score);
            shares.push(score);
        }
        let mut sum = f32x16::ZERO;
        for share in shares.iter_mut() {
            *share -= top;
            let lanes = share.as_mut_array();
            if self.quantize {
                lanes.iter_mut().for_each(|d| *d = probability(*d));
            } else {
                lanes.iter_mut().for_each(|d| *d = exp2(*d));
            }
            sum += *share;
        }
        f32x16::ONE / sum
    }

    fn forward(&self, rows: &[f32], mixed: &mut [f32], rotations: &Rotations) {
        let heads = self.heads(rows, rotations);
        let width = self.heads * HEAD_SIZE;
        let group = self.heads / self.kv_heads;
        let mut shares = Vec::new();
        for (h, queries) in heads.queries.iter().enumerate() {
            let (keys, values) = (&heads.keys[h / group], &heads.values[h / group]);
            for first in (0..self.positions).step_by(LANES) {
                let block = Block::new(first, self.positions, self.window);
                let inverse = self.shares(&block, &block.columns(queries), keys, &mut shares);
                let mut sums = [f32x16::ZERO; HEAD_SIZE];
                for (value, &share) in values[block.keys.clone()].iter().zip(&shares) {
                    add_outer(&mut sums, value, share);
                }
                let outputs = f32x16::transpose(sums.map(|sum| sum * inverse));
                for (lane, output) in outputs.iter().take(block.count).enumerate() {
                    let at = (first + lane) * width + h * HEAD_SIZE;
                    mixed[at..at + HEAD_SIZE].copy_from_slice(output.as_array());
                }
            }
        }
        if self.quantize {
            mixed.chunks_exact_mut(width).for_each(quant::block);
        }
    }

    fn backward(&self, rows: &[f32], dmixed: &[f32], drows: &mut [f32], rotations: &Rotations) {
        let heads = self.heads(rows, rotations);
        let (width, row_width) = (self.heads * HEAD_SIZE, self.row_width());
        let group = self.heads / self.kv_heads;
        let zeros = || vec![vec![f32x16::ZERO; self.positions]; self.kv_heads];
        let (mut dkeys, mut dvalues) = (zeros(), zeros());
        let scale = f32x16::splat(1.0 / (HEAD_SIZE as f32).sqrt());
        let (mut shares, mut dshares): (Head, Head) = Default::default();
        for (h, queries) in heads.queries.iter().enumerate() {
            let (keys, values) = (&heads.keys[h / group], &heads.values[h / group]);
            let (dkeys, dvalues) = (&mut dkeys[h / group], &mut dvalues[h / group]);
            let outputs = dmixed.chunks_exact(width);
            let doutputs: Head = outputs.map(|row| load(&row[h * HEAD_SIZE..])).collect();
            for first in (0..self.positions).step_by(LANES) {
                let block = Block::new(first, self.positions, self.window);
                let inverse = self.shares(&block, &block.columns(queries), keys, &mut shares);
                let dcolumns = block.columns(&doutputs);
                // The gradient of each share, and its mean under the shares.
                let mut mean = f32x16::ZERO;
                dshares.clear();
                for (value, share) in values[block.keys.clone()].iter().zip(&mut shares) {
                    *share *= inverse;
                    let dshare = dot(value, &dcolumns);
                    mean = share.mul_add(dshare, mean);
                    dshares.push(dshare);
                }
                let mut dqueries = [f32x16::ZERO; HEAD_SIZE];
                let lanes = block.first..block.first + block.count;
                for (key, (share, dshare)) in block.keys.clone().zip(shares.iter().zip(&dshares)) {
                    let dscore = (*dshare - mean) * *share * scale;
                    add_outer(&mut dqueries, &keys[key], dscore);
                    dkeys[key] += along(&dscore, &queries[lanes.clone()]);
                    dvalues[key] += along(share, &doutputs[lanes.clone()]);
                }
                for (lane, mut dq) in f32x16::transpose(dqueries)
                    .into_iter()
                    .take(block.count)
                    .enumerate()
                {
                    rotations.turn(first + lane, dq.as_mut_array(), -1.0);
                    let at = (first + lane) * row_width + h * HEAD_SIZE;
                    drows[at..at + HEAD_SIZE].copy_from_slice(dq.as_array());
                }
            }
        }
        let places = [
            (self.heads, dkeys, true),
            (self.heads + self.kv_heads, dvalues, false),
        ];
        for (offset, gradients, turned) in places {
            for (h, head) in gradients.into_iter().enumerate() {
                for (position, mut d) in head.into_iter().enumerate() {
                    if turned {
                        rotations.turn(position, d.as_mut_array(), -1.0);
                    }
                    let at = position * row_width + (offset + h) * HEAD_SIZE;
                    drows[at..at + HEAD_SIZE].copy_from_slice(d.as_array());
                }
            }
        }
    }
}

/// `sum_l weights[l] * rows[l]`.
#[inline(always)]
fn along(weights: &f32x16, rows: &[f32x16]) -> f32x16 {
    let mut sums = [f32x16::ZERO; 4];
    for (l, (&weight, row)) in weights.as_array().iter().zip(rows).enumerate() {
        sums[l % 4] = f32x16::splat(weight).mul_add(*row, sums[l % 4]);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// `127 * 2^d` as the integer pipeline has it: `d` in 32nds, 7 bits, nothing from eight octaves down.
#[inline(always)]
fn probability(d: f32) -> f32 {
    let p = (127.0 * exp2((d * 32.0).round_ties_even() / 32.0)).round_ties_even();
    if d <= -8.0 {
        0.0
    } else {
        p
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "sliding-window-attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = floats(storage, layout)?;
        let (count, width) = layout.shape().dims2()?;
        let rotations = Rotations::new(self.positions, self.rope_theta);
        let out = self.heads * HEAD_SIZE;
        let mut mixed = vec![0.0; count * out];
        let sequences = rows.chunks_exact(self.positions * width);
        for (rows, mixed) in sequences.zip(mixed.chunks_exact_mut(self.positions * out)) {
            self.forward(rows, mixed, &rotations);
        }
        Ok((CpuStorage::F32(mixed), (count, out).into()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let rotations = Rotations::new(self.positions, self.rope_theta);
        let (width, out) = (self.row_width(), self.heads * HEAD_SIZE);
        let drows = with_floats([arg, grad], |[rows, dmixed]| {
            let mut drows = vec![0.0; rows.len()];
            let sequences = rows
                .chunks_exact(self.positions * width)
                .zip(dmixed.chunks_exact(self.positions * out));
            for (drows, (rows, dmixed)) in drows
                .chunks_exact_mut(self.positions * width)
                .zip(sequences)
            {
                self.backward(rows, dmixed, drows, &rotations);
            }
            drows
        })?;
        Ok(Some(Tensor::from_vec(drows, arg.shape(), arg.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
    }

    /// Attention as it is defined, one query at a time, in float64.
    fn reference(op: &Attention, rows: &[f64]) -> Vec<f64> {
        let width = op.row_width();
        let turned = |position: usize, index: usize| -> Vec<f64> {
            let x = &rows[position * width + index * HEAD_SIZE..][..HEAD_SIZE];
            let within = position % op.positions;
            let mut y = x.to_vec();
            for c in 0..PAIRS {
                let angle = within as f64 * op.rope_theta.powf(-(c as f64) / PAIRS as f64);
                let (sin, cos) = angle.sin_cos();
                y[c] = x[c] * cos - x[c + PAIRS] * sin;
                y[c + PAIRS] = x[c] * sin + x[c + PAIRS] * cos;
            }
            y
        };
        let mut mixed = Vec::new();
        for position in 0..rows.len() / width {
            let start = position / op.positions * op.positions;
            let first = start.max((position + 1).saturating_sub(op.window));
            for head in 0..op.heads {
                let kv = head * op.kv_heads / op.heads;
                let q = turned(position, head);
                let shares: Vec<f64> = (first..=position)
                    .map(|key| {
                        let k = turned(key, op.heads + kv);
                        (q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / 4.0).exp()
                    })
                    .collect();
                let total: f64 = shares.iter().sum();
                for c in 0..HEAD_SIZE {
                    let at = (op.heads + op.kv_heads + kv) * HEAD_SIZE + c;
                    let values = (first..=position).map(|key| rows[key * width + at]);
                    mixed.push(values.zip(&shares).map(|(v, p)| v * p / total).sum());
                }
            }
        }
        mixed
    }

    #[test]
    fn results_and_gradients_are_those_of_the_definition() {
        // Lengths and windows that do and do not fill blocks; two sequences.
        for (positions, window) in [(40, 10), (33, 64), (16, 1), (50, 17)] {
            let op = Attention {
                positions,
                heads: 4,
                kv_heads: 2,
                window,
                rope_theta: 100.0,
                quantize: false,
            };
            let shape = (2 * positions, op.row_width());
            let rows = random(shape.0 * shape.1, 1);
            let weights = random(shape.0 * op.heads * HEAD_SIZE, 2);
            let var = Var::from_vec(rows.clone(), shape, &Device::Cpu).unwrap();
            let mixed = var.apply_op1(op.clone()).unwrap();
            let exact: Vec<f64> = rows.iter().map(|&x| x.into()).collect();
            let expected = reference(&op, &exact);
            let found: Vec<f32> = mixed.flatten_all().unwrap().to_vec1().unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-5,
                    "{found} {expected}"
                );
            }

            let by = Tensor::from_vec(weights.clone(), mixed.shape(), &Device::Cpu).unwrap();
            let loss = (mixed * by).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let gradient: Vec<f32> = gradients
                .get(&var)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            let loss = |rows: &[f64]| -> f64 {
                let mixed = reference(&op, rows);
                mixed
                    .iter()
                    .zip(&weights)
                    .map(|(m, &w)| m * f64::from(w))
                    .sum()
            };
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            for _ in 0..40 {
                let at = rng.random_range(0..exact.len());
                let moved = |by: f64| {
                    let mut rows = exact.clone();
                    rows[at] += by;
                    loss(&rows)
                };
                let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                assert!(
                    (f64::from(gradient[at]) - slope).abs() < 1e-3,
                    "positions {positions}, window {window}, {at}: {} {slope}",
                    gradient[at]
                );
            }
        }
    }

    #[test]
    fn rounding_changes_little() {
        let op = |quantize| Attention {
            positions: 64,
            heads: 4,
            kv_heads: 2,
            window: 20,
            rope_theta: 10_000.0,
            quantize,
        };
        let width = op(false).row_width();
        let rows = Tensor::from_vec(random(64 * width, 5), (64, width), &Device::Cpu).unwrap();
        let mixed = |quantize| -> Vec<f32> {
            let mixed = rows.apply_op1(op(quantize)).unwrap();
            mixed.flatten_all().unwrap().to_vec1().unwrap()
        };
        let (float, rounded) = (mixed(false), mixed(true));
        let power = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
        let noise = power(&mut float.iter().zip(&rounded).map(|(a, b)| a - b));
        let signal = power(&mut float.iter().copied());
        assert!(noise > 0.0 && noise < 1e-3 * signal, "{noise} {signal}");
    }
}
