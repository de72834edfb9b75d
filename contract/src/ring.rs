//! Where the slots of a key and a value ring lie on a core.
//!
//! A group of the key ring holds `P` slots, a group of the value ring 8. The
//! sinks fill the first groups of either ring and the ring proper starts in a
//! group of its own, so that no group holds both.

use crate::regs;
use crate::step::COLUMNS;

/// A window of slots, the first of them sinks, on a core of `rows` rows.
/// `0 <= sinks < window <= 1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    /// Rows of the array, `P`: 1 or an even number.
    pub rows: u32,
    /// Slots in all, `W`.
    pub window: u32,
    /// Slots that are never overwritten, `S`.
    pub sinks: u32,
}

impl Ring {
    /// Slots that wrap, `W - S`.
    pub const fn ring_slots(self) -> u32 {
        self.window - self.sinks
    }

    /// The slot of token `t` of a stream.
    ///
    /// ```
    /// use annulus_contract::ring::Ring;
    /// let ring = Ring { rows: 8, window: 5, sinks: 2 };
    /// assert_eq!([4, 5, 7, 8].map(|t| ring.slot(t)), [4, 2, 4, 2]);
    /// ```
    pub const fn slot(self, t: u64) -> u32 {
        let (window, sinks) = (self.window as u64, self.sinks as u64);
        let slot = if t < window {
            t
        } else {
            sinks + (t - sinks) % (window - sinks)
        };
        slot as u32
    }

    /// Groups of `P` slots that hold the sinks' keys.
    pub const fn key_sink_groups(self) -> u32 {
        self.sinks.div_ceil(self.rows)
    }

    /// Groups of `P` slots of the key ring, sinks included.
    pub const fn key_groups(self) -> u32 {
        self.key_sink_groups() + self.ring_slots().div_ceil(self.rows)
    }

    /// Groups of 8 slots that hold the sinks' values.
    pub const fn value_sink_groups(self) -> u32 {
        self.sinks.div_ceil(COLUMNS as u32)
    }

    /// Groups of 8 slots of the value ring, sinks included.
    pub const fn value_groups(self) -> u32 {
        self.value_sink_groups() + self.ring_slots().div_ceil(COLUMNS as u32)
    }

    /// Group and row of a slot in the key ring.
    pub const fn key_at(self, slot: u32) -> (u32, u32) {
        self.at(slot, self.rows, self.key_sink_groups())
    }

    /// Group and column of a slot in the value ring. The slot's score is in the
    /// same place of a score buffer.
    pub const fn value_at(self, slot: u32) -> (u32, u32) {
        self.at(slot, COLUMNS as u32, self.value_sink_groups())
    }

    /// Words of 8 slots of one head's score buffer: a core writes scores of `P`
    /// slots at once, in the last group also where there is no slot.
    pub const fn score_words(self) -> u32 {
        let slots = self.ring_slots().next_multiple_of(self.rows);
        self.value_sink_groups() + slots.div_ceil(COLUMNS as u32)
    }

    /// The registers that describe the ring, with their values.
    pub const fn registers(self) -> [(u8, u32); 4] {
        let columns = COLUMNS as u32;
        [
            (
                regs::KEY_GROUPS,
                self.key_groups() | self.key_sink_groups() << 16,
            ),
            (
                regs::KEY_LAST,
                last(self.ring_slots(), self.rows) | last(self.sinks, self.rows) << 8,
            ),
            (
                regs::VALUE_GROUPS,
                self.value_groups() | self.value_sink_groups() << 16,
            ),
            (
                regs::VALUE_LAST,
                last(self.ring_slots(), columns) | last(self.sinks, columns) << 8,
            ),
        ]
    }

    const fn at(self, slot: u32, size: u32, sink_groups: u32) -> (u32, u32) {
        if slot < self.sinks {
            (slot / size, slot % size)
        } else {
            let slot = slot - self.sinks;
            (sink_groups + slot / size, slot % size)
        }
    }
}

/// Members of the last group, when `all` come in groups of `group`; 0 for none.
const fn last(all: u32, group: u32) -> u32 {
    match all {
        0 => 0,
        all => (all - 1) % group + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_place_and_no_group_mixes_sinks_and_ring() {
        for rows in [1, 2, 6, 8, 16] {
            for window in 1..70 {
                for sinks in 0..window.min(30) {
                    let ring = Ring {
                        rows,
                        window,
                        sinks,
                    };
                    for slot in 0..window {
                        let (key, value) = (ring.key_at(slot), ring.value_at(slot));
                        assert_eq!(slot < sinks, key.0 < ring.key_sink_groups());
                        assert_eq!(slot < sinks, value.0 < ring.value_sink_groups());
                        assert!(slot == 0 || ring.key_at(slot - 1) < key);
                        assert!(slot == 0 || ring.value_at(slot - 1) < value);
                    }
                    let last = window - 1;
                    assert_eq!(ring.key_at(last).0 + 1, ring.key_groups());
                    assert_eq!(ring.value_at(last).0 + 1, ring.value_groups());
                    assert!(ring.score_words() >= ring.value_groups());
                }
            }
        }
    }

    #[test]
    fn registers_of_a_small_ring() {
        let ring = Ring {
            rows: 6,
            window: 37,
            sinks: 9,
        };
        let value = |register| ring.registers().iter().find(|r| r.0 == register).unwrap().1;
        assert_eq!(value(regs::KEY_GROUPS), (2 + 5) | 2 << 16);
        assert_eq!(value(regs::KEY_LAST), 4 | 3 << 8);
        assert_eq!(value(regs::VALUE_GROUPS), (2 + 4) | 2 << 16);
        assert_eq!(value(regs::VALUE_LAST), 4 | 1 << 8);
    }
}
