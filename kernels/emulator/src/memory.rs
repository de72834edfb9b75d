//! The device's memory: allocations of the host's own, found again by address.

use std::collections::BTreeMap;

/// Every allocation begins at such an address.
const ALIGNMENT: usize = 256;
/// What fresh memory holds: a pattern that no kernel could mean.
const GARBAGE: u8 = 0xcd;

/// All that is allocated. A device address is the host's address of the same byte.
#[derive(Default)]
pub struct Memory {
    blocks: BTreeMap<u64, Block>,
}

struct Block {
    bytes: usize,
    // Words, so that the host's own alignment is at least that of a word.
    store: Box<[u64]>,
}

impl Memory {
    /// Garbage of so many bytes; its address.
    pub fn allocate(&mut self, bytes: usize) -> u64 {
        let pattern = u64::from_ne_bytes([GARBAGE; 8]);
        let store = vec![pattern; (bytes + ALIGNMENT) / 8 + 1].into_boxed_slice();
        let address = (store.as_ptr() as u64).next_multiple_of(ALIGNMENT as u64);
        self.blocks.insert(address, Block { bytes, store });
        address
    }

    /// Give memory back; whether there was any.
    pub fn free(&mut self, address: u64) -> bool {
        self.blocks.remove(&address).is_some()
    }

    /// Whether all of these bytes belong to one allocation.
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let found = self.blocks.range(..=address).next_back();
        found.is_some_and(|(&start, block)| {
            debug_assert!(!block.store.is_empty());
            address - start + bytes as u64 <= block.bytes as u64
        })
    }

    /// First address and the one behind the last, of every allocation, in order.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        let range = |(&start, block): (&u64, &Block)| (start, start + block.bytes as u64);
        self.blocks.iter().map(range).collect()
    }
}
