//! One layer's key and value ring: what is stored for each (slot, KV head).

use crate::quant::Width;
use annulus_contract::block::{encode_bfp, narrow_values, value_mantissa, Scale};

/// Keys as int8 mantissas with a scale a head, values as int8 in units of 2^8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRing {
    kv_heads: usize,
    head_size: usize,
    value_bits: Width,
    /// `[slot][kv_head][c]`
    keys: Vec<i8>,
    /// `[slot][kv_head]`
    scales: Vec<Scale>,
    /// `[slot][kv_head][c]`
    values: Vec<i8>,
}

impl LayerRing {
    pub(super) fn new(window: usize, kv_heads: usize, head_size: usize, value_bits: Width) -> Self {
        LayerRing {
            value_bits,
            kv_heads,
            head_size,
            keys: vec![0; window * kv_heads * head_size],
            scales: vec![Scale::default(); window * kv_heads],
            values: vec![0; window * kv_heads * head_size],
        }
    }

    /// Store a head of a token: `key` after RoPE and Hadamard, `value` int16.
    pub(super) fn write(&mut self, slot: usize, kv_head: usize, key: &[i32], value: &[i32]) {
        let at = self.at(slot, kv_head);
        self.scales[slot * self.kv_heads + kv_head] = encode_bfp(key, &mut self.keys[at.clone()]);
        let values = &mut self.values[at];
        match self.value_bits {
            Width::Eight => {
                for (stored, &v) in values.iter_mut().zip(value) {
                    *stored = value_mantissa(v);
                }
            }
            Width::Four => narrow_values(value, values),
        }
    }

    /// Mantissas and scale of the key in a slot.
    pub fn key(&self, slot: usize, kv_head: usize) -> (&[i8], Scale) {
        (
            &self.keys[self.at(slot, kv_head)],
            self.scales[slot * self.kv_heads + kv_head],
        )
    }

    /// The value in a slot.
    pub fn value(&self, slot: usize, kv_head: usize) -> &[i8] {
        &self.values[self.at(slot, kv_head)]
    }

    fn at(&self, slot: usize, kv_head: usize) -> std::ops::Range<usize> {
        let start = (slot * self.kv_heads + kv_head) * self.head_size;
        start..start + self.head_size
    }
}
