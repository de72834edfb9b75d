//! One token through all steps.

use super::Interpreter;
use crate::compile::pack;
use annulus_contract::block::{
    encode_bfp, encode_block, narrow_exponent, narrow_value, value_mantissa, Scale,
};
use annulus_contract::error;
use annulus_contract::exp2::exp2p;
use annulus_contract::feed_forward::relu;
use annulus_contract::fixed::{rshr, sat};
use annulus_contract::hadamard::hadamard;
use annulus_contract::regs;
use annulus_contract::rope::Rotation;
use annulus_contract::rsqrt::{rsqrt, Rsqrt};
use annulus_contract::sample::{scaled_logit, Argmax};
use annulus_contract::sigmoid::sigmoid;
use annulus_contract::stage;
use annulus_contract::step::{Kind, Step, COLUMNS, GROUP, SCALES_A_WORD};

/// What a token's steps leave for one another.
#[derive(Default)]
struct Pass {
    residual: Vec<i32>,
    /// Reciprocal root of the residual's norm.
    norm: Rsqrt,
    /// Mantissas of the query heads, padded to words: near, and far for the sinks.
    queries: [Vec<i8>; 2],
    query_scales: [Vec<Scale>; 2],
    /// 16-bit scores, and the largest that counts in each buffer.
    scores: Vec<i32>,
    maxima: [i32; 8],
    attention: Vec<i32>,
    hidden: Vec<i32>,
}

impl Interpreter {
    pub(super) fn forward(&mut self, token: u32, logits_wanted: bool) {
        let mut pass = Pass {
            scores: vec![0; self.shape.score_words as usize * COLUMNS],
            attention: vec![0; self.shape.hidden as usize],
            ..Pass::default()
        };
        for at in 0..self.memory.steps.len() {
            let Some(step) = Step::decode(&self.memory.steps[at]) else {
                self.error |= error::BAD_STEP;
                return;
            };
            if step.kind == Kind::End {
                break;
            }
            let skipped = step.far_only && !self.far() || step.skip_on_prefill && !logits_wanted;
            if !skipped {
                self.run(&step, &mut pass, token);
            }
        }
        self.residual[..pass.residual.len()].copy_from_slice(&pass.residual);
    }

    fn run(&mut self, step: &Step, pass: &mut Pass, token: u32) {
        match step.kind {
            Kind::End => {}
            Kind::Embed => self.embed(step, pass, token),
            Kind::Normalize => {
                let sh = self.legal(i32::from(step.shift) + i32::from(pass.norm.k));
                for x in &mut pass.residual {
                    *x = stage::embedding_norm(*x, pass.norm.r, sh);
                }
                self.complete(step, pass);
            }
            Kind::Query => {
                let y = self.matvec(step, &pass.residual, pass.norm, 16);
                self.queries(step, pass, &y);
            }
            Kind::Key => {
                let y = self.matvec(step, &pass.residual, pass.norm, 16);
                self.keys(step, y);
            }
            Kind::Value => {
                let y = self.matvec(step, &pass.residual, pass.norm, 16);
                self.values(step, &y);
            }
            Kind::Scores => self.scores(step, pass),
            Kind::Mix => self.mix(step, pass),
            Kind::Out | Kind::Down => {
                let x = if step.kind == Kind::Out {
                    &pass.attention
                } else {
                    &pass.hidden
                };
                let y = self.matvec(step, x, Rsqrt::ONE, 48);
                for (x, y) in pass.residual.iter_mut().zip(y) {
                    *x = stage::residual_add(*x, y.into());
                }
                self.complete(step, pass);
            }
            Kind::GateUp => {
                let y = self.matvec(step, &pass.residual, pass.norm, 16);
                pass.hidden = y
                    .chunks_exact(2)
                    .map(|y| swiglu(step, y[0], y[1]))
                    .collect();
            }
            Kind::Relu => {
                let y = self.matvec(step, &pass.residual, pass.norm, 16);
                pass.hidden = y.into_iter().map(relu).collect();
            }
            Kind::Logits => {
                let y = self.matvec(step, &pass.residual, pass.norm, 24);
                self.logits_crc.update_logits(&y);
                self.logits[..y.len()].copy_from_slice(&y);
                self.argmax(&y);
            }
        }
    }

    fn embed(&mut self, step: &Step, pass: &mut Pass, token: u32) {
        let row = if step.by_position {
            self.stream.position as u32 & self.register(regs::POSITION_MASK)
        } else {
            token
        } as usize;
        let (group, lane) = (
            row / self.shape.rows as usize,
            row % self.shape.rows as usize,
        );
        let (s, mu) = self.memory.row_scale(step.scale, row);
        let sh = self.legal(i32::from(step.shift) + i32::from(s));
        pass.residual.resize(step.rows as usize, 0);
        for column in 0..step.rows as usize {
            let address = step.address as usize + group * step.cols as usize + column / COLUMNS;
            let w = self.memory.word(address)[lane * COLUMNS + column % COLUMNS] as i8;
            let gain = if step.gains {
                self.memory.gains[column].into()
            } else {
                256
            };
            let y = rshr(i64::from(w) * i64::from(mu) * gain, sh);
            let x = &mut pass.residual[column];
            *x = stage::residual_add(if step.add { *x } else { 0 }, y);
        }
        self.complete(step, pass);
    }

    /// A step has written the whole residual: its norm is known.
    fn complete(&self, step: &Step, pass: &mut Pass) {
        let eps = if step.embedding_eps {
            regs::EMBEDDING_EPS
        } else {
            regs::EPS
        };
        let squares: i64 = pass
            .residual
            .iter()
            .map(|&x| i64::from(x) * i64::from(x))
            .sum();
        pass.norm = rsqrt(squares as u64 + u64::from(self.register(eps)));
    }

    /// Rows of a matrix times a vector, through the output stage, saturated.
    fn matvec(&mut self, step: &Step, x: &[i32], norm: Rsqrt, bits: u32) -> Vec<i32> {
        let norm = if step.normed { norm } else { Rsqrt::ONE };
        let columns = step.cols as usize * COLUMNS;
        let mut padded = x.to_vec();
        padded.resize(columns, 0);
        let mut m = vec![0; columns];
        let e = encode_block(&padded, &mut m).e;
        let mut y = Vec::with_capacity(step.rows as usize);
        for group in 0..step.groups as usize {
            let sums = if step.nibbles {
                self.dot_nibbles(step.address as usize + group * step.stride as usize, &m)
            } else {
                self.dot_group(step.address as usize + group * step.cols as usize, &m)
            };
            for (lane, sum) in sums.into_iter().enumerate() {
                let row = group * self.shape.rows as usize + lane;
                if row < step.rows as usize {
                    let (s, mu) = self.memory.row_scale(step.scale, row);
                    let sh =
                        i32::from(step.shift) + i32::from(norm.k) + i32::from(s) - i32::from(e);
                    let sh = self.legal(sh);
                    let result = stage::requantize(sum, stage::m16(norm.r, mu), sh);
                    // Clamping an addend to 17 bits gives the same residual.
                    y.push(sat(result, bits.min(24)) as i32);
                }
            }
        }
        y
    }

    /// Dot products of the rows of consecutive words with a vector.
    fn dot_group(&self, address: usize, m: &[i8]) -> Vec<i32> {
        let mut sums = vec![0; self.shape.rows as usize];
        for (c, m) in m.chunks_exact(COLUMNS).enumerate() {
            for (sum, w) in sums
                .iter_mut()
                .zip(self.memory.word(address + c).chunks_exact(COLUMNS))
            {
                *sum += w
                    .iter()
                    .zip(m)
                    .map(|(&w, &m)| i32::from(w as i8) * i32::from(m))
                    .sum::<i32>();
            }
        }
        sums
    }

    /// The same for 4-bit weights: words of group scales come in between.
    fn dot_nibbles(&self, address: usize, m: &[i8]) -> Vec<i32> {
        let mut sums = vec![0; self.shape.rows as usize];
        let nibble = |word: &[u8], at: usize| word[at / 2] >> (4 * (at % 2)) & 15;
        for (group, m) in m.chunks(GROUP).enumerate() {
            let in_word = group % SCALES_A_WORD;
            let scales = address + group / SCALES_A_WORD * (1 + SCALES_A_WORD);
            let (scales, word) = (
                self.memory.word(scales),
                self.memory.word(scales + 1 + in_word),
            );
            for (row, sum) in sums.iter_mut().enumerate() {
                let g = nibble(scales, row * GROUP + in_word);
                let products = m.iter().enumerate().map(|(j, &m)| {
                    let w = pack::weight(nibble(word, row * GROUP + j), g);
                    i32::from(w) * i32::from(m)
                });
                *sum += products.sum::<i32>();
            }
        }
        sums
    }

    /// The same for 4-bit values in the low (0) or high (1) nibbles of a word, times two to the
    /// power of their slot's exponent.
    fn dot_narrow(&self, address: usize, half: usize, p: &[i8]) -> Vec<i32> {
        let mut sums = vec![0; self.shape.rows as usize];
        for (word, p) in (address..).zip(p.chunks_exact(COLUMNS)) {
            let exponents = self.memory.exponents(word);
            let rows = self.memory.word(word).chunks_exact(COLUMNS);
            for (sum, row) in sums.iter_mut().zip(rows) {
                let slots = row.iter().zip(exponents).zip(p);
                let products = slots.map(|((&n, &e), &p)| {
                    let e = e >> (4 * half) & 7;
                    let v = pack::signed(n >> (4 * half)) << e;
                    i32::from(v) * i32::from(p)
                });
                *sum += products.sum::<i32>();
            }
        }
        sums
    }

    fn legal(&mut self, shift: i32) -> i32 {
        if !stage::is_legal_shift(shift) {
            self.error |= error::ILLEGAL_SHIFT;
        }
        shift & 31
    }

    fn head_size(&self) -> usize {
        (self.register(regs::HEAD) & 0xff) as usize
    }

    /// The head stage: rotate by position, then by Hadamard's matrix, and encode.
    fn encode_head(&self, head: &[i32], far: bool) -> (Vec<i8>, Scale) {
        let mut head = head.to_vec();
        if self.register(regs::HEAD) >> 9 & 1 == 1 {
            for (pair, x) in head.chunks_exact_mut(2).enumerate() {
                let rotation = if far {
                    self.memory.far_rotation(pair)
                } else {
                    Rotation::by(self.memory.phases[pair])
                };
                (x[0], x[1]) = rotation.apply(x[0], x[1]);
            }
        }
        if self.hadamard() {
            hadamard(&mut head);
        }
        let mut m = vec![0; head.len()];
        let scale = encode_bfp(&head, &mut m);
        m.resize(head.len().next_multiple_of(COLUMNS), 0);
        (m, scale)
    }

    fn queries(&self, step: &Step, pass: &mut Pass, y: &[i32]) {
        let copy = usize::from(step.far_only);
        let heads = y.chunks_exact(self.head_size());
        let (m, scales): (Vec<_>, _) = heads
            .map(|head| self.encode_head(head, step.far_only))
            .unzip();
        pass.queries[copy] = m.concat();
        pass.query_scales[copy] = scales;
    }

    fn keys(&mut self, step: &Step, y: Vec<i32>) {
        let (group, row) = self.stream.key_at;
        let (group, row) = (group as usize, row as usize);
        let groups = self.register(regs::KEY_GROUPS) as usize & 0xffff;
        for (head, x) in y.chunks_exact(self.head_size()).enumerate() {
            let (m, scale) = self.encode_head(x, false);
            let first =
                step.ring as usize + head * step.ring_stride as usize + group * m.len() / COLUMNS;
            for (c, &m) in m.iter().enumerate() {
                *self.memory.byte_mut(first + c / COLUMNS, row, c % COLUMNS) = m as u8;
            }
            let entry = step.ring_scale as usize + head * groups + group;
            self.memory.key_scales[entry * self.shape.rows as usize + row] =
                scale.e | (scale.mu - 5) << 5;
        }
    }

    fn values(&mut self, step: &Step, y: &[i32]) {
        let (group, column) = self.stream.value_at;
        let rows = self.shape.rows as usize;
        if step.narrow {
            return self.narrow_values(step, y);
        }
        for (head, x) in y.chunks_exact(self.head_size()).enumerate() {
            let first = step.ring as usize + head * step.ring_stride as usize + group as usize;
            for (dim, &v) in x.iter().enumerate() {
                let address = first + dim / rows * step.ring_scale as usize;
                *self.memory.byte_mut(address, dim % rows, column as usize) =
                    value_mantissa(v) as u8;
            }
        }
    }

    /// The same for 4-bit values: row groups are counted through, two share a word.
    fn narrow_values(&mut self, step: &Step, y: &[i32]) {
        let (slots, column) = self.stream.value_at;
        let first = step.ring as usize + slots as usize;
        let rows = self.shape.rows as usize;
        let heads = y.chunks_exact(self.head_size());
        let groups = heads.flat_map(|x| {
            let e = narrow_exponent(x);
            x.chunks(rows).map(move |group| (group, e))
        });
        for (at, (group, e)) in groups.enumerate() {
            let address = first + at / 2 * step.ring_scale as usize;
            let put = |byte: &mut u8, nibble: u8| {
                let shift = 4 * (at % 2);
                *byte = *byte & !(15 << shift) | (nibble & 15) << shift;
            };
            for (row, &v) in group.iter().enumerate() {
                let byte = self.memory.byte_mut(address, row, column as usize);
                put(byte, narrow_value(v, e) as u8);
            }
            put(self.memory.exponent_mut(address, column as usize), e);
        }
    }

    fn scores(&mut self, step: &Step, pass: &mut Pass) {
        let rows = self.shape.rows as usize;
        let (all, sinks) = self.halves(regs::KEY_GROUPS);
        let limits = self.limits(
            (all, sinks),
            self.register(regs::KEY_LAST),
            self.stream.key_at,
            rows,
        );
        // Scores lie as values do: the ring's start behind whole groups of sinks.
        let ring = self.halves(regs::VALUE_GROUPS).1 as usize * COLUMNS;
        let buffer = step.score as usize * COLUMNS;
        let mut max = None;
        for (group, limit) in limits.into_iter().enumerate() {
            let in_sinks = group < sinks as usize;
            let copy = usize::from(self.far() && in_sinks);
            let query = pass.query_scales[copy][step.head as usize];
            let m =
                &pass.queries[copy][step.pair as usize * COLUMNS..][..step.cols as usize * COLUMNS];
            let sums = self.dot_group(step.address as usize + group * step.cols as usize, m);
            let first = if in_sinks {
                group * rows
            } else {
                ring + (group - sinks as usize) * rows
            };
            for (row, sum) in sums.into_iter().enumerate() {
                let byte = self.memory.key_scales[(step.scale as usize + group) * rows + row];
                let key = Scale {
                    e: byte & 31,
                    mu: (byte >> 5) + 5,
                };
                let sh = i32::from(step.shift) - i32::from(query.e) - i32::from(key.e);
                let counts = row < limit;
                let sh = if counts { self.legal(sh) } else { sh & 31 };
                let score = stage::score(sum, query, key, sh);
                // Rows without a slot leave their noise behind, as in hardware.
                pass.scores[buffer + first + row] = score;
                max = if counts { max.max(Some(score)) } else { max };
            }
        }
        pass.maxima[step.score_id as usize] = max.unwrap_or(0);
    }

    fn mix(&mut self, step: &Step, pass: &mut Pass) {
        let groups = self.halves(regs::VALUE_GROUPS);
        let limits = self.limits(
            groups,
            self.register(regs::VALUE_LAST),
            self.stream.value_at,
            COLUMNS,
        );
        let scores = pass.scores[step.score as usize * COLUMNS..].chunks_exact(COLUMNS);
        let max = pass.maxima[step.score_id as usize];
        let p: Vec<i8> = scores
            .zip(&limits)
            .flat_map(|(scores, &limit)| {
                scores
                    .iter()
                    .enumerate()
                    .map(move |(i, &score)| (score, i < limit))
            })
            .map(|(score, counts)| {
                if counts {
                    exp2p((max - score) as u32) as i8
                } else {
                    0
                }
            })
            .collect();
        let scale = stage::mix_scale(p.iter().map(|&p| p as u32).sum());
        let rows = self.shape.rows as usize;
        for group in 0..step.groups as usize {
            let (address, stride) = (step.address as usize, step.stride as usize);
            let sums = if step.narrow {
                let at = group + usize::from(step.high);
                self.dot_narrow(address + at / 2 * stride, at % 2, &p)
            } else {
                self.dot_group(address + group * stride, &p)
            };
            for (row, sum) in sums.into_iter().enumerate() {
                let dim = group * rows + row;
                if dim < step.rows as usize {
                    pass.attention[2 * step.pair as usize + dim] = stage::mix(sum, scale);
                }
            }
        }
    }

    /// Slots that count in each group that is scanned: all of them, but up to the
    /// current one while the ring fills, and in the last group of sinks and of ring.
    fn limits(
        &self,
        (all, sinks): (u32, u32),
        last: u32,
        at: (u32, u32),
        size: usize,
    ) -> Vec<usize> {
        let full = self.stream.full;
        let scanned = if full { all } else { at.0 + 1 };
        (0..scanned)
            .map(|group| {
                if !full && group == at.0 {
                    at.1 as usize + 1
                } else if group + 1 == sinks {
                    (last >> 8 & 0xff) as usize
                } else if group + 1 == all {
                    (last & 0xff) as usize
                } else {
                    size
                }
            })
            .collect()
    }

    fn argmax(&mut self, logits: &[i32]) {
        let sampler = self.sampler();
        let step = self.register(regs::SAMPLES);
        let mut argmax = Argmax::new();
        for (index, &logit) in logits.iter().enumerate() {
            let value = sampler.map_or(logit, |s| {
                scaled_logit(logit, s.it, s.logit_bits)
                    + annulus_contract::sample::noise(s.key, step, index as u32)
            });
            argmax.offer(index as u32, value);
        }
        self.choice = argmax.index().unwrap_or(0);
    }
}

/// SwiGLU with the formats of a step.
fn swiglu(step: &Step, gate: i32, up: i32) -> i32 {
    let silu = rshr(
        i64::from(gate) * i64::from(sigmoid(gate, step.gate_bits.into())),
        16,
    );
    sat(rshr(silu * i64::from(up), step.hidden_shift.into()), 16) as i32
}
