//! A float32 forward pass as fast as llama2.c compiled with `-Ofast
//! -march=native`: what the `cpu` engine is measured against.
//!
//! Matrices and keys are transposed so that no sum crosses lanes, exponentials
//! are polynomials, nothing is allocated once the state stands. llama2.c's
//! shapes only: RoPE, SwiGLU, a norm before the classifier, heads of a multiple
//! of eight.

use annulus_model::float::{FloatLayer, FloatModel};

const LANES: usize = 16;
/// Elements of a value that are summed at once.
const OCTET: usize = 8;

/// A matrix by column, then by row.
struct Transposed(Vec<f32>);

/// One block of the model.
struct Layer {
    q: Transposed,
    k: Transposed,
    v: Transposed,
    out: Transposed,
    gate: Transposed,
    up: Transposed,
    down: Transposed,
}

/// A stream through a model.
pub struct Float32<'a> {
    model: &'a FloatModel,
    layers: Vec<Layer>,
    classifier: Transposed,
    /// Cosine and sine of each pair at each position.
    turns: Vec<(f32, f32)>,
    /// By layer, by KV head, by element, by position.
    keys: Vec<f32>,
    /// By layer, by position, by KV head, by element.
    values: Vec<[f32; OCTET]>,
    position: usize,
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attended: Vec<f32>,
    y: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    scores: Vec<f32>,
    logits: Vec<f32>,
}

impl<'a> Float32<'a> {
    /// A stream of up to `positions` tokens.
    pub fn new(model: &'a FloatModel, positions: usize) -> Self {
        assert!(
            model.head_size.is_multiple_of(OCTET),
            "heads come in eights"
        );
        let base = model.rope_base.expect("llama2.c's models have RoPE");
        let pairs = model.head_size / 2;
        let turns = (0..positions * pairs)
            .map(|i| {
                let exponent = 2.0 * (i % pairs) as f32 / model.head_size as f32;
                let angle = (i / pairs) as f32 / base.powf(exponent);
                (angle.cos(), angle.sin())
            })
            .collect();
        let kv_dim = model.kv_heads * model.head_size;
        let zeros = |n| vec![0.0; n];
        let (dim, hidden) = (model.dim, model.hidden);
        let up = |w3: &Option<Vec<f32>>| w3.clone().expect("llama2.c's models have SwiGLU");
        let pack_layer = |layer: &FloatLayer| Layer {
            q: Transposed::new(&layer.wq, dim),
            k: Transposed::new(&layer.wk, dim),
            v: Transposed::new(&layer.wv, dim),
            out: Transposed::new(&layer.wo, dim),
            gate: Transposed::new(&layer.w1, dim),
            up: Transposed::new(&up(&layer.w3), dim),
            down: Transposed::new(&layer.w2, hidden),
        };
        Float32 {
            model,
            layers: model.layers.iter().map(pack_layer).collect(),
            classifier: Transposed::new(model.classifier.as_ref().unwrap_or(&model.embedding), dim),
            turns,
            keys: zeros(model.layers.len() * positions * kv_dim),
            values: vec![[0.0; OCTET]; model.layers.len() * positions * kv_dim / OCTET],
            position: 0,
            x: zeros(model.dim),
            normed: zeros(model.dim),
            q: zeros(model.dim),
            k: zeros(kv_dim),
            v: zeros(kv_dim),
            attended: zeros(model.dim),
            y: zeros(model.dim),
            gate: zeros(model.hidden),
            up: zeros(model.hidden),
            scores: zeros(positions),
            logits: zeros(model.vocab),
        }
    }

    /// Go back to position 0.
    pub fn reset(&mut self) {
        self.position = 0;
    }

    /// Logits after a token.
    pub fn step(&mut self, token: u32) -> &[f32] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            unsafe { self.step_avx512(token) };
            return &self.logits;
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has them.
            unsafe { self.step_avx2(token) };
            return &self.logits;
        }
        self.pass::<false>(token);
        &self.logits
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn step_avx512(&mut self, token: u32) {
        self.pass::<true>(token);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn step_avx2(&mut self, token: u32) {
        self.pass::<true>(token);
    }

    /// The forward pass; `FMA` says whether multiply-add is one instruction.
    #[inline(always)]
    fn pass<const FMA: bool>(&mut self, token: u32) {
        let model = self.model;
        let (dim, head_size) = (model.dim, model.head_size);
        let kv_dim = model.kv_heads * head_size;
        let (pairs, positions) = (head_size / 2, self.scores.len());
        let turns = &self.turns[self.position * pairs..][..pairs];
        self.x
            .copy_from_slice(&model.embedding[token as usize * dim..][..dim]);
        for (l, (layer, packed)) in model.layers.iter().zip(&self.layers).enumerate() {
            rms_norm(&mut self.normed, &self.x, &layer.attention_norm, model.eps);
            let cache = l * positions * kv_dim..(l + 1) * positions * kv_dim;
            let keys = &mut self.keys[cache.clone()];
            let values = &mut self.values[cache.start / OCTET..cache.end / OCTET];
            packed.q.apply::<FMA>(&self.normed, &mut self.q);
            packed.k.apply::<FMA>(&self.normed, &mut self.k);
            packed.v.apply::<FMA>(&self.normed, &mut self.v);
            rotate(&mut self.q, turns);
            rotate(&mut self.k, turns);
            for (keys, k) in keys.chunks_exact_mut(positions).zip(&self.k) {
                keys[self.position] = *k;
            }
            let stride = kv_dim / OCTET;
            values[self.position * stride..][..stride].copy_from_slice(self.v.as_chunks().0);

            let scale = (head_size as f32).sqrt().recip();
            for (head, q) in self.q.chunks_exact(head_size).enumerate() {
                let at = head * model.kv_heads / model.heads * head_size;
                let scores = &mut self.scores[..=self.position];
                scores.fill(0.0);
                for (q, keys) in q.iter().zip(keys.chunks_exact(positions).skip(at)) {
                    for (score, k) in scores.iter_mut().zip(keys) {
                        *score = multiply_add::<FMA>(q * scale, *k, *score);
                    }
                }
                let total = exponentials::<FMA>(scores);
                let out = &mut self.attended[head * head_size..][..head_size];
                for (c, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                    let values = values[at / OCTET + c..].iter().step_by(stride);
                    *out = mix::<FMA>(scores, values, total.recip());
                }
            }
            packed.out.apply::<FMA>(&self.attended, &mut self.y);
            add(&mut self.x, &self.y);

            rms_norm(&mut self.normed, &self.x, &layer.ffn_norm, model.eps);
            packed.gate.apply::<FMA>(&self.normed, &mut self.gate);
            packed.up.apply::<FMA>(&self.normed, &mut self.up);
            for (gate, up) in self.gate.iter_mut().zip(&self.up) {
                *gate = *gate / (1.0 + exp::<FMA>(-*gate)) * up;
            }
            packed.down.apply::<FMA>(&self.gate, &mut self.y);
            add(&mut self.x, &self.y);
        }
        let gain = model
            .final_norm
            .as_ref()
            .expect("llama2.c's models have a last norm");
        rms_norm(&mut self.normed, &self.x, gain, model.eps);
        self.classifier.apply::<FMA>(&self.normed, &mut self.logits);
        self.position += 1;
    }
}

impl Transposed {
    fn new(w: &[f32], columns: usize) -> Self {
        let rows = w.len() / columns;
        let at = |i: usize| w[i % rows * columns + i / rows];
        Transposed((0..w.len()).map(at).collect())
    }

    #[inline(always)]
    fn apply<const FMA: bool>(&self, x: &[f32], y: &mut [f32]) {
        let rows = y.len();
        y.fill(0.0);
        // Four columns for each reading and writing of y.
        for (x, w) in x.chunks(4).zip(self.0.chunks(4 * rows)) {
            if let &[a, b, c, d] = x {
                let (w01, w23) = w.split_at(2 * rows);
                let ((w0, w1), (w2, w3)) = (w01.split_at(rows), w23.split_at(rows));
                for ((((y, w0), w1), w2), w3) in y.iter_mut().zip(w0).zip(w1).zip(w2).zip(w3) {
                    let sum = multiply_add::<FMA>(a, *w0, multiply_add::<FMA>(b, *w1, *y));
                    *y = multiply_add::<FMA>(c, *w2, multiply_add::<FMA>(d, *w3, sum));
                }
            } else {
                for (x, w) in x.iter().zip(w.chunks(rows)) {
                    for (y, w) in y.iter_mut().zip(w) {
                        *y = multiply_add::<FMA>(*x, *w, *y);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// Eight elements of the mean of `values` under the weights `p` and a common scale.
#[inline(always)]
fn mix<'a, const FMA: bool>(
    p: &[f32],
    values: impl Iterator<Item = &'a [f32; OCTET]>,
    scale: f32,
) -> [f32; OCTET] {
    let mut sums = [0.0; OCTET];
    for (&p, value) in p.iter().zip(values) {
        for lane in 0..OCTET {
            sums[lane] = multiply_add::<FMA>(p, value[lane], sums[lane]);
        }
    }
    sums.map(|sum| sum * scale)
}

#[inline(always)]
fn rms_norm(y: &mut [f32], x: &[f32], gain: &[f32], eps: f32) {
    let scale = (sum(x, |x| x * x) / x.len() as f32 + eps).sqrt().recip();
    for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
        *y = x * scale * gain;
    }
}

/// Sum of `f` of all elements, in lanes as far as they go.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (rows, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for row in rows {
        for lane in 0..LANES {
            sums[lane] += f(row[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

#[inline(always)]
fn rotate(x: &mut [f32], turns: &[(f32, f32)]) {
    for head in x.chunks_exact_mut(2 * turns.len()) {
        for (pair, &(cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
            let [a, b] = *pair;
            *pair = [a * cos - b * sin, a * sin + b * cos];
        }
    }
}

/// `e^(x - max)` in place, and their sum.
#[inline(always)]
fn exponentials<const FMA: bool>(x: &mut [f32]) -> f32 {
    let (rows, rest) = x.as_chunks::<LANES>();
    let mut maxima = [f32::MIN; LANES];
    for row in rows {
        for lane in 0..LANES {
            maxima[lane] = if row[lane] > maxima[lane] {
                row[lane]
            } else {
                maxima[lane]
            };
        }
    }
    let max = maxima.iter().chain(rest).copied().fold(f32::MIN, f32::max);
    for x in &mut *x {
        *x = exp::<FMA>(*x - max);
    }
    sum(x, |x| x)
}

/// `e^x` within a few units of the last place, by a power of two and a
/// polynomial of what is left.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding this rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let t = (x * std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let coefficients = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let mut power = 1.0 / 720.0;
    for c in coefficients {
        power = multiply_add::<FMA>(power, f, c);
    }
    let exponent = shifted.to_bits().wrapping_add(127) << 23;
    power * f32::from_bits(exponent)
}

#[inline(always)]
fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
