//! How tokens are chosen: temperature and seed, which the core applies itself,
//! and the cuts to the likeliest symbols, which the host makes from the logits.

use annulus_contract::sample::{Argmax, Gumbel};
use annulus_model::image::Image;
use annulus_model::sampler::{inverse_temperature, TemperatureError};

/// Why a way of sampling is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// The temperature is.
    #[error(transparent)]
    Temperature(#[from] TemperatureError),
    /// No symbol would be left.
    #[error("a top-k of 0 leaves no symbol to choose: use 1 or more")]
    TopK,
    /// Not a share of the probability.
    #[error("a top-p of {0} is not a share of the probability: use more than 0, up to 1")]
    TopP(f64),
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Softmax temperature; 0 is greedy.
    pub temperature: f64,
    /// Key of the noise: the low half is `k0`.
    pub seed: u64,
    /// Choose among so many of the likeliest symbols only.
    pub top_k: Option<usize>,
    /// Choose among the likeliest symbols that together have this probability.
    pub top_p: Option<f64>,
}

impl Sampling {
    /// Whether the host must choose, because no core cuts.
    pub fn needs_host(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some()
    }

    /// The sampler of backends; `None` is greedy.
    ///
    /// # Errors
    /// If temperature or cuts make no sense.
    pub fn gumbel(&self, image: &Image) -> Result<Option<Gumbel>, SamplingError> {
        if self.top_k == Some(0) {
            return Err(SamplingError::TopK);
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(SamplingError::TopP(p));
        }
        let it = inverse_temperature(self.temperature)?;
        let logit_bits = image.config.logit_bits.into();
        Ok(it.map(|it| Gumbel {
            it,
            key: self.seed.into(),
            logit_bits,
        }))
    }

    /// The host's choice: what the core does, among the symbols that the cuts leave.
    /// With cuts that leave all of them, it is the core's own choice.
    pub fn choose(&self, gumbel: Option<Gumbel>, sample: u32, logits: &[i32]) -> u32 {
        let mut argmax = Argmax::new();
        for index in self.candidates(gumbel, logits) {
            let logit = logits[index as usize];
            argmax.offer(
                index,
                gumbel.map_or(logit, |gumbel| gumbel.perturbed(sample, index, logit)),
            );
        }
        argmax.index().unwrap_or(0)
    }

    /// The symbols that the cuts leave, in order of their index; at least one.
    fn candidates(&self, gumbel: Option<Gumbel>, logits: &[i32]) -> Vec<u32> {
        let mut symbols: Vec<u32> = (0..logits.len() as u32).collect();
        symbols.sort_by_key(|&s| std::cmp::Reverse(logits[s as usize]));
        symbols.truncate(self.top_k.unwrap_or(usize::MAX));
        if let (Some(share), Some(gumbel)) = (self.top_p, gumbel) {
            let unit = f64::from(gumbel.logit_bits).exp2().recip() / self.temperature;
            let top = logits[symbols[0] as usize];
            let weight = |&s: &u32| (f64::from(logits[s as usize] - top) * unit).exp();
            let wanted = share * symbols.iter().map(weight).sum::<f64>();
            let mut sum = 0.0;
            let enough = symbols.iter().position(|s| {
                sum += weight(s);
                sum >= wanted
            });
            symbols.truncate(enough.map_or(symbols.len(), |last| last + 1));
        }
        symbols.sort_unstable();
        symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [i32; 5] = [0, 9000, 4096, 9000, -4096];

    fn gumbel(seed: u64) -> Option<Gumbel> {
        Some(Gumbel {
            it: 1477,
            key: seed.into(),
            logit_bits: 12,
        })
    }

    fn cut(top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling {
            temperature: 1.0,
            seed: 3,
            top_k,
            top_p,
        }
    }

    #[test]
    fn cuts_keep_the_likeliest() {
        assert_eq!(cut(Some(1), None).candidates(gumbel(3), &LOGITS), [1]);
        assert_eq!(cut(Some(3), None).candidates(gumbel(3), &LOGITS), [1, 2, 3]);
        assert_eq!(
            cut(Some(99), None).candidates(gumbel(3), &LOGITS),
            [0, 1, 2, 3, 4]
        );
        // e^(9000/4096) = 9: two of 9 among 9 + 9 + 2.7 + 1 + 0.4.
        assert_eq!(cut(None, Some(0.8)).candidates(gumbel(3), &LOGITS), [1, 3]);
        assert_eq!(
            cut(None, Some(0.9)).candidates(gumbel(3), &LOGITS),
            [1, 2, 3]
        );
        assert_eq!(cut(None, Some(1e-9)).candidates(gumbel(3), &LOGITS), [1]);
        assert_eq!(
            cut(None, Some(1.0)).candidates(gumbel(3), &LOGITS),
            [0, 1, 2, 3, 4]
        );
    }

    #[test]
    fn cuts_that_keep_all_choose_as_the_core_does() {
        for sample in 0..500 {
            let core = gumbel(3).map(|g| g.choose(sample, &LOGITS));
            assert_eq!(
                Some(cut(Some(5), None).choose(gumbel(3), sample, &LOGITS)),
                core
            );
            let kept = cut(Some(2), None).choose(gumbel(3), sample, &LOGITS);
            assert!(kept == 1 || kept == 3);
        }
        assert_eq!(cut(Some(5), None).choose(None, 0, &LOGITS), 1);
    }
}
