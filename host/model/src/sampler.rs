//! A stream's choice of tokens from its logits (`docs/arithmetic.md` section 9).

use annulus_contract::sample::{greedy, Gumbel, Key};

/// Why a temperature is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TemperatureError {
    /// Negative, infinite or not a number.
    #[error("a temperature of {0} is not a number from 0 up")]
    NotANumber(f64),
    /// Above zero, but its reciprocal does not fit 16 bits.
    #[error("a temperature of {0} is too close to 0: use 0, or 0.023 and more")]
    TooLow(f64),
}

/// `IT = round(1024 * log2(e) / temperature)` (u16), `None` for 0: greedy.
///
/// # Errors
/// If the temperature is negative, infinite, not a number or above zero but
/// too small for `IT`.
///
/// ```
/// use annulus_model::sampler::inverse_temperature;
/// assert_eq!(inverse_temperature(1.0), Ok(Some(1477)));
/// assert_eq!(inverse_temperature(0.0), Ok(None));
/// assert!(inverse_temperature(0.02).is_err());
/// ```
pub fn inverse_temperature(temperature: f64) -> Result<Option<u16>, TemperatureError> {
    if !temperature.is_finite() || temperature < 0.0 {
        return Err(TemperatureError::NotANumber(temperature));
    }
    if temperature == 0.0 {
        return Ok(None);
    }
    let it = (1024.0 * std::f64::consts::LOG2_E / temperature).round();
    if it > f64::from(u16::MAX) {
        return Err(TemperatureError::TooLow(temperature));
    }
    Ok(Some(it as u16))
}

/// Chooses the tokens of a stream, counting the sampled ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampler {
    gumbel: Option<Gumbel>,
    step: u32,
}

impl Sampler {
    /// Always the largest logit.
    pub const fn greedy() -> Self {
        Sampler {
            gumbel: None,
            step: 0,
        }
    }

    /// Sampling with an inverse temperature `IT`; `logit_bits` is the model's LF.
    pub fn gumbel(it: u16, key: Key, logit_bits: u8) -> Self {
        Sampler {
            gumbel: Some(Gumbel {
                it,
                key,
                logit_bits: logit_bits.into(),
            }),
            step: 0,
        }
    }

    /// Sampling at a temperature with a seed; 0 is greedy.
    ///
    /// # Errors
    /// As [`inverse_temperature`].
    pub fn new(temperature: f64, seed: u64, logit_bits: u8) -> Result<Self, TemperatureError> {
        Ok(match inverse_temperature(temperature)? {
            None => Sampler::greedy(),
            Some(it) => Sampler::gumbel(it, seed.into(), logit_bits),
        })
    }

    /// The next token, and one step further.
    pub fn choose(&mut self, logits: &[i32]) -> u32 {
        let step = self.step;
        self.step = self.step.wrapping_add(1);
        self.gumbel
            .map_or_else(|| greedy(logits), |gumbel| gumbel.choose(step, logits))
    }

    /// Tokens chosen so far.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// A new stream: the count starts again.
    pub fn restart(&mut self) {
        self.step = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_checked() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                inverse_temperature(bad),
                Err(TemperatureError::NotANumber(_))
            ));
        }
        assert_eq!(
            inverse_temperature(0.0225),
            Err(TemperatureError::TooLow(0.0225))
        );
        assert!(inverse_temperature(0.0226).is_ok());
    }

    #[test]
    fn restart_repeats_the_choices() {
        let logits: Vec<i32> = (0..27).map(|i| i * 37 % 91 * 40).collect();
        let mut sampler = Sampler::new(1.0, 5, 12).unwrap();
        let first: Vec<u32> = (0..50).map(|_| sampler.choose(&logits)).collect();
        let second: Vec<u32> = (0..50).map(|_| sampler.choose(&logits)).collect();
        assert_ne!(first, second);
        sampler.restart();
        assert_eq!(
            first,
            (0..50)
                .map(|_| sampler.choose(&logits))
                .collect::<Vec<u32>>()
        );
    }

    /// Frequencies follow the softmax of the logits: chi-square with 4 degrees
    /// of freedom stays below its 1e-4 quantile.
    #[test]
    fn samples_follow_the_softmax() {
        let logits = [0, 4096, 2048, -4096, 6000];
        let weight = |l: i32| (f64::from(l) / 4096.0).exp();
        let total: f64 = logits.iter().map(|&l| weight(l)).sum();
        let draws = 100_000;
        let mut sampler = Sampler::new(1.0, 99, 12).unwrap();
        let mut counts = [0u32; 5];
        for _ in 0..draws {
            counts[sampler.choose(&logits) as usize] += 1;
        }
        let chi: f64 = logits
            .iter()
            .zip(counts)
            .map(|(&l, n)| (weight(l) / total * f64::from(draws), f64::from(n)))
            .map(|(want, n)| (n - want).powi(2) / want)
            .sum();
        assert!(chi < 23.5, "{chi}");
    }
}
