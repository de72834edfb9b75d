//! Every instruction set against the portable one, operation by operation.

use super::*;
use annulus_contract::sample::{prng, Key};

/// Every operation on the same arguments.
struct Everything<'a> {
    a: &'a Row,
    b: &'a Row,
    word: &'a Word,
    p: &'a [u8; 8],
}

impl Kernel for Everything<'_> {
    type Output = Vec<(&'static str, Vec<i32>)>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Self::Output {
        let (a, b) = (L::load(self.a), L::load(self.b));
        let count = b.and(L::splat(31));
        let row = |x: L| {
            let mut out = Row::default();
            x.store(&mut out);
            out.0.to_vec()
        };
        let bytes = |x: L| {
            let mut out = [0; LANES];
            x.store_u8(&mut out);
            out.map(i32::from).to_vec()
        };
        let even = |x: L| {
            let mut out = [0; LANES / 2];
            x.store_even(&mut out);
            out.to_vec()
        };
        let first = self.word.0.first_chunk().expect("a word has 64 bytes");
        let table = [*self.a, *self.b];
        let long: [i32; 256] = std::array::from_fn(|i| self.a.0[i % LANES] ^ i as i32);
        let multiplier = b.and(L::splat(0xffff));
        vec![
            ("splat", row(L::splat(self.a.0[3]))),
            ("load_u8", row(L::load_u8(first))),
            ("store_u8", bytes(a)),
            ("store_even", even(a)),
            ("add", row(a.add(b))),
            ("sub", row(a.sub(b))),
            ("mul", row(a.mul(b))),
            ("and", row(a.and(b))),
            ("or", row(a.or(b))),
            ("xor", row(a.xor(b))),
            ("min", row(a.min(b))),
            ("max", row(a.max(b))),
            ("shl", row(a.shl(b.and(L::splat(63))))),
            ("shr", row(a.shr(b.and(L::splat(63))))),
            ("sar", row(a.sar(count))),
            ("leading_zeros", row(a.shr(count).leading_zeros())),
            ("lookup", row(b.lookup(&table))),
            ("gather", row(b.and(L::splat(255)).gather(&long))),
            ("sum", vec![a.sum()]),
            ("any", vec![a.and(L::splat(0xff0)).any()]),
            ("largest", vec![a.largest()]),
            ("equal", vec![count.equal(a.and(L::splat(31))).into()]),
            ("add_pairs", row(a.add_pairs())),
            ("dot", row(a.dot(self.word, self.b.0[0]))),
            (
                "dot_pairs",
                row(a.sar(L::splat(8)).dot_pairs(self.p, self.word)),
            ),
            ("requantize 16", row(a.requantize(multiplier, count, 16))),
            ("requantize 24", row(a.requantize(multiplier, count, 24))),
            ("requantize 31", row(a.requantize(multiplier, count, 31))),
            ("rshr", row(a.sar(L::splat(1)).rshr(count))),
            ("sat", row(a.sar(count).sat(16))),
            ("rotate_left", row(a.rotate_left(3))),
        ]
    }
}

#[test]
fn every_operation_is_the_portable_one() {
    let key = Key { k0: 7, k1: 1 };
    let edges = [
        0,
        1,
        -1,
        127,
        -128,
        255,
        32767,
        -32768,
        65535,
        i32::MAX,
        i32::MIN,
    ];
    for round in 0..2000u32 {
        // Random numbers of all sizes, with edges among them.
        let number = |i: u32| {
            let r = prng(key, round, i);
            match r % 8 {
                0 => edges[r as usize / 8 % edges.len()],
                _ => prng(key, round, i + 1000) as i32 >> (r / 8 % 32),
            }
        };
        let row = |first: u32| Row(std::array::from_fn(|l| number(first + l as u32)));
        let byte = |i: u32| match prng(key, round, i) % 8 {
            0 => 255,
            1 => 128,
            r => (prng(key, r, i) >> 3) as u8,
        };
        let (a, b) = (row(0), row(100));
        let word = Word(std::array::from_fn(|i| byte(200 + i as u32)));
        let p = std::array::from_fn(|i| byte(300 + i as u32) & 127);
        let results = |set: InstructionSet| {
            set.run(Everything {
                a: &a,
                b: &b,
                word: &word,
                p: &p,
            })
        };
        let expected = results(InstructionSet(Kind::Portable));
        for set in InstructionSet::available() {
            for ((name, found), (_, expected)) in results(set).iter().zip(&expected) {
                assert_eq!(found, expected, "{name} by {}, round {round}", set.name());
            }
        }
    }
}

/// The portable operations against the contract, where it has them.
#[test]
fn portable_rounding_is_the_contracts() {
    use annulus_contract::fixed::{rshr, sat};
    let x = Row(std::array::from_fn(|l| (l as i32 - 8) * 12_345_677));
    for sh in 0..32 {
        let mut out = Row::default();
        let lanes = portable::Portable::load(&x);
        lanes
            .rshr(portable::Portable::splat(sh))
            .sat(16)
            .store(&mut out);
        assert_eq!(
            out.0,
            x.0.map(|x| sat(rshr(x.into(), sh), 16) as i32),
            "shift {sh}"
        );
    }
}
