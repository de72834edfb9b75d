//! Every cell's Verilog against its Rust model: all inputs where they are few,
//! else the corners and very many at random, one case a clock.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::OnceLock;

use annulus_contract::crc::Crc32;
use annulus_contract::feed_forward::SwigluFormat;
use annulus_contract::rope::Rotation;
use annulus_contract::sample::{gumbel, prng, Key};
use annulus_hdl::cells::*;
use annulus_hdl::verilog;
use annulus_sim::verilated::{lint, Build, Design, Model, Port};

/// Every cell by the name that it has in the design under test.
fn cells() -> Vec<(&'static str, String)> {
    vec![
        ("dot8", verilog(Dot8::default())),
        ("row_scale", verilog(RowScale::default())),
        ("requantize", verilog(Requantize::default())),
        ("read_block", verilog(ReadBlock::default())),
        ("rsqrt", verilog(Rsqrt::default())),
        ("recip", verilog(Recip::default())),
        ("sin", verilog(Sin::default())),
        ("rope", verilog(Rope::default())),
        ("swiglu", verilog(SwiGlu::default())),
        ("exp2", verilog(Exp2::default())),
        ("score", verilog(Score::default())),
        ("head_scale", verilog(HeadScale::default())),
        ("encode8", verilog(Encode8::default())),
        ("gumbel", verilog(Gumbel::default())),
        ("temperature", verilog(Temperature::default())),
        ("magnitude8", verilog(Magnitude8::default())),
        ("score_max16", verilog(ScoreMax::<16, 256>::default())),
        ("score_max5", verilog(ScoreMax::<5, 80>::default())),
        ("score_max1", verilog(ScoreMax::<1, 16>::default())),
        ("sum_p8", verilog(SumP8::default())),
        ("v_code", verilog(VCode::default())),
        ("crc24", verilog(Crc24::default())),
    ]
}

/// All cells side by side in one design; port `p` of cell `c` is `c_p`.
fn design() -> &'static Design {
    static DESIGN: OnceLock<Design> = OnceLock::new();
    DESIGN.get_or_init(|| {
        let (mut modules, mut ports) = (String::new(), vec!["clock".to_owned()]);
        let (mut declarations, mut instances) =
            (String::from("input wire clock;\n"), String::new());
        for (cell, text) in cells() {
            modules += &text.replacen("module top(", &format!("module {cell}("), 1);
            let mut wires = vec![".clock(clock)".to_owned()];
            for line in text.lines().map(str::trim) {
                let is_port = line.starts_with("input wire") || line.starts_with("output reg");
                let Some((kind, port)) = line.trim_end_matches(';').rsplit_once(' ') else {
                    continue;
                };
                if is_port && port != "clock" {
                    declarations += &format!("{} {cell}_{port};\n", kind.replace(" reg", " wire"));
                    wires.push(format!(".{port}({cell}_{port})"));
                    ports.push(format!("{cell}_{port}"));
                }
            }
            instances += &format!("{cell} {cell}({});\n", wires.join(", "));
        }
        let ports = ports.join(", ");
        let text = format!("{modules}\nmodule top({ports});\n{declarations}{instances}endmodule\n");
        Build::new("cells", &text).build(&mut |_| ()).unwrap()
    })
}

/// One cell in a model of its own.
struct Bench {
    model: Model,
    cell: &'static str,
    latency: usize,
}

/// A port and the value on it.
type Value<'a> = (&'a str, Bits);

/// Up to 256 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bits([u64; 4]);

impl Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x?}", self.0)
    }
}

/// A number, in two's complement.
fn n(x: impl Into<i64>) -> Bits {
    let x = x.into();
    Bits([
        x as u64,
        (x >> 63) as u64,
        (x >> 63) as u64,
        (x >> 63) as u64,
    ])
}

/// Numbers of `bits` bits side by side, the first lowest.
fn lanes<T: Copy + Into<i64>>(bits: usize, values: &[T]) -> Bits {
    let mut words = [0; 4];
    for (i, &value) in values.iter().enumerate() {
        for bit in 0..bits {
            let at = bits * i + bit;
            words[at / 64] |= ((value.into() >> bit & 1) as u64) << (at % 64);
        }
    }
    Bits(words)
}

impl Bench {
    fn new(cell: &'static str, latency: usize) -> Self {
        Bench {
            model: design().instance(),
            cell,
            latency,
        }
    }

    fn port(&self, name: &str) -> Port {
        self.model.port(&format!("{}_{name}", self.cell)).unwrap()
    }

    /// Feeds a case a clock and compares what leaves `latency` clocks later.
    /// Whatever is set or expected is cut to the width of its port.
    fn check<T: Debug, I: AsRef<[Value<'static>]>, O: AsRef<[Value<'static>]>>(
        mut self,
        cases: impl IntoIterator<Item = T>,
        set: impl Fn(&T) -> I,
        expect: impl Fn(&T) -> O,
    ) {
        let mut ports: Vec<(&str, Port)> = Vec::new();
        let mut port = |bench: &Self, name: &'static str| match ports.iter().find(|p| p.0 == name) {
            Some(&(_, port)) => port,
            None => {
                let port = bench.port(name);
                ports.push((name, port));
                port
            }
        };
        let mut cases = cases.into_iter();
        let mut inside = VecDeque::new();
        let mut compared = 0;
        loop {
            let case = cases.next();
            if let Some(case) = &case {
                for &(name, value) in set(case).as_ref() {
                    let port = port(&self, name);
                    let words: Vec<u32> = (0..port.width().div_ceil(32))
                        .map(|i| {
                            let word = (value.0[i as usize / 2] >> (32 * (i % 2))) as u32;
                            word & (u32::MAX >> (32 - (port.width() - 32 * i).min(32)))
                        })
                        .collect();
                    self.model.poke_wide(port, &words);
                }
            } else if inside.is_empty() {
                break;
            }
            self.model.tick();
            inside.push_back(case);
            if inside.len() == self.latency {
                let Some(case) = inside.pop_front().flatten() else {
                    break;
                };
                for &(name, value) in expect(&case).as_ref() {
                    let port = port(&self, name);
                    let expected = value.0[0] & (u64::MAX >> (64 - port.width()));
                    let got = self.model.peek(port);
                    assert_eq!(
                        got, expected,
                        "{} {name}: {got:#x}, not {expected:#x}, at {case:?}",
                        self.cell
                    );
                }
                compared += 1;
            }
        }
        assert!(compared > 0);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number of up to `bits` bits of any length, every sixth time a corner.
    fn unsigned(&mut self, bits: u32) -> u64 {
        let all = u64::MAX >> (64 - bits);
        match self.below(12) {
            0 => all,
            1 => self.below(2),
            _ => (self.next() & all) >> self.below(bits as u64),
        }
    }

    /// The same with a sign: corners are the ends and what is around 0.
    fn signed(&mut self, bits: u32) -> i64 {
        let x = self.unsigned(bits - 1) as i64;
        if self.below(2) == 0 {
            x
        } else {
            !x
        }
    }
}

/// Cases made by a function of a generator.
fn random<T>(cases: usize, mut make: impl FnMut(&mut Random) -> T) -> impl Iterator<Item = T> {
    let mut random = Random(cases as u64);
    (0..cases).map(move |_| make(&mut random))
}

fn eight<T>(mut make: impl FnMut() -> T) -> [T; 8] {
    std::array::from_fn(|_| make())
}

#[test]
fn verilator_has_nothing_to_say() {
    for (cell, text) in cells() {
        let mut warnings = lint(&text).unwrap();
        // Rounding drops bits.
        warnings.retain(|w| w.code != "UNUSEDSIGNAL");
        assert!(warnings.is_empty(), "{cell}: {warnings:?}");
    }
}

#[test]
fn dot8() {
    let corners = [(-128, -128), (-128, 127), (127, 127), (-1, 1)].map(|(x, w)| ([x; 8], [w; 8]));
    let cases = random(200_000, |r| {
        (eight(|| r.signed(8) as i8), eight(|| r.signed(8) as i8))
    });
    Bench::new("dot8", Dot8::LATENCY).check(
        corners.into_iter().chain(cases),
        |(x, w)| [("x", lanes(8, x)), ("w", lanes(8, w))],
        |&(x, w)| [("s", n(Dot8::model(x, w)))],
    );
}

#[test]
fn row_scale_makes_every_multiplier() {
    let rows = (0..=32_768u16).flat_map(|r| (5..=8u8).map(move |mu| (r, mu)));
    Bench::new("row_scale", RowScale::LATENCY).check(
        rows,
        |&(r, mu)| [("r", n(r)), ("mu", n(mu - 5))],
        |&(r, mu)| [("m", n(RowScale::model(r, mu, 0, 0, 0, 0).0))],
    );
}

#[test]
fn row_scale_adds_up_the_shift() {
    let cases = random(300_000, |r| {
        (
            r.signed(6) as i8,
            r.unsigned(5) as u8,
            r.unsigned(5) as u8,
            r.signed(8) as i8,
        )
    });
    Bench::new("row_scale", RowScale::LATENCY).check(
        cases,
        |&(s, k, e, base)| [("s", n(s)), ("k", n(k)), ("e", n(e)), ("base", n(base))],
        |&(s, k, e, base)| {
            let (_, sh, illegal) = RowScale::model(0, 8, s, k, e, base);
            [("sh", n(sh)), ("illegal", n(illegal))]
        },
    );
}

#[test]
fn requantize() {
    let cases = random(500_000, |r| {
        let m = r.unsigned(16).min(32_768) as u16;
        (r.signed(32) as i32, m, r.below(32) as u8)
    });
    Bench::new("requantize", Requantize::LATENCY).check(
        cases,
        |&(acc, m, sh)| [("acc", n(acc)), ("m", n(m)), ("sh", n(sh))],
        |&(acc, m, sh)| [("y", n(Requantize::model(acc, m, sh)))],
    );
}

#[test]
fn read_block_of_every_value() {
    // Every value that exponent e can stand with, eight at a time.
    let cases = (0..16u8).flat_map(|e| {
        let end = (128i32 << e).min(32_768);
        let values = move |at| std::array::from_fn(|lane| (at + lane as i32) as i16);
        (-end..end).step_by(8).map(move |at| (values(at), e))
    });
    Bench::new("read_block", ReadBlock::LATENCY).check(
        cases,
        |(x, e)| [("x", lanes(16, x)), ("e", n(*e))],
        |&(x, e)| [("m", lanes(8, &ReadBlock::model(x, e)))],
    );
}

#[test]
fn rsqrt() {
    let corners = (0..41).flat_map(|bit| [1u64 << bit, (1 << bit) + 1, (2 << bit) - 1]);
    let cases = random(300_000, |r| r.unsigned(41).max(1));
    Bench::new("rsqrt", Rsqrt::LATENCY).check(
        corners.chain(cases),
        |&t| [("t", n(t as i64))],
        |&t| {
            let root = Rsqrt::model(t);
            [("r", n(root.r)), ("k", n(root.k))]
        },
    );
}

#[test]
fn recip_of_every_sum() {
    Bench::new("recip", Recip::LATENCY).check(
        1..1 << 18,
        |&sum| [("z_in", n(sum))],
        |&sum| {
            let inverse = Recip::model(sum);
            [("r", n(inverse.r)), ("z", n(inverse.z))]
        },
    );
}

#[test]
fn sin_of_every_step() {
    let phases =
        (0..=u16::MAX as u32).flat_map(|top| [0, 1, 0x8000, 0xffff].map(|low| top << 16 | low));
    Bench::new("sin", Sin::LATENCY).check(
        phases,
        |&phase| [("phase", n(phase))],
        |&phase| [("y", n(Sin::model(phase)))],
    );
}

#[test]
fn rope() {
    let cases = random(300_000, |r| {
        // Quarter turns, where sine or cosine is 16,384, among all angles.
        let phase = if r.below(4) == 0 {
            (r.next() as u32) << 29
        } else {
            r.next() as u32
        };
        (
            r.signed(16) as i16,
            r.signed(16) as i16,
            Rotation::by(phase),
        )
    });
    Bench::new("rope", Rope::LATENCY).check(
        cases,
        |&(a, b, turn)| {
            [
                ("a", n(a)),
                ("b", n(b)),
                ("sin", n(turn.sin)),
                ("cos", n(turn.cos)),
            ]
        },
        |&(a, b, turn)| {
            let (ra, rb) = Rope::model(a, b, turn);
            [("ra", n(ra)), ("rb", n(rb))]
        },
    );
}

#[test]
fn swiglu() {
    let every_gate = (3..=14).flat_map(|gate| {
        let format = SwigluFormat {
            gate,
            up: 12,
            hidden: 12,
        };
        (i16::MIN..=i16::MAX)
            .step_by(7)
            .map(move |g| (g, 32_767, format))
    });
    let cases = random(400_000, |r| {
        let gate = 3 + r.below(12) as u32;
        let format = SwigluFormat {
            gate,
            up: 31,
            hidden: gate + r.below(32) as u32,
        };
        (r.signed(16) as i16, r.signed(16) as i16, format)
    });
    Bench::new("swiglu", SwiGlu::LATENCY).check(
        every_gate.chain(cases),
        |&(g, u, f)| {
            [
                ("g", n(g)),
                ("u", n(u)),
                ("fg", n(f.gate)),
                ("shift", n(f.shift())),
            ]
        },
        |&(g, u, f)| [("h", n(SwiGlu::model(g, u, f)))],
    );
}

#[test]
fn exp2_of_every_distance() {
    let distances = (0..=u16::MAX).map(|d| (i16::MAX, Some((i16::MAX as i32 - d as i32) as i16)));
    let cases = random(200_000, |r| {
        let (a, b) = (r.signed(16) as i16, r.signed(16) as i16);
        let near = a.saturating_sub(r.below(300) as i16);
        match r.below(3) {
            0 => (a, None),
            1 => (a, Some(near)),
            _ => (a.max(b), Some(a.min(b))),
        }
    });
    Bench::new("exp2", Exp2::LATENCY).check(
        distances.chain(cases),
        // A slot that is not in use holds anything, such as a larger score.
        |&(m, s)| {
            [
                ("m", n(m)),
                ("s", n(s.unwrap_or(i16::MAX))),
                ("valid", n(s.is_some())),
            ]
        },
        |&(m, s)| [("p", n(Exp2::model(m, s)))],
    );
}

#[test]
fn score() {
    let cases = random(500_000, |r| {
        let sh = if r.below(8) == 0 {
            r.signed(7)
        } else {
            r.below(32) as i64
        };
        (
            r.signed(24) as i32,
            5 + r.below(4) as u8,
            5 + r.below(4) as u8,
            sh as i8,
        )
    });
    Bench::new("score", Score::LATENCY).check(
        cases,
        |&(d, muq, muk, sh)| {
            [
                ("d", n(d)),
                ("muq", n(muq - 5)),
                ("muk", n(muk - 5)),
                ("sh", n(sh)),
            ]
        },
        |&(d, muq, muk, sh)| match Score::model(d, muq, muk, sh) {
            Some(s) => vec![("s", n(s)), ("illegal", n(false))],
            None => vec![("illegal", n(true))],
        },
    );
}

#[test]
fn head_scale_of_every_magnitude() {
    Bench::new("head_scale", HeadScale::LATENCY).check(
        0..1u32 << 21,
        |&max| [("max", n(max))],
        |&max| {
            let scale = HeadScale::model(max);
            [("e", n(scale.e)), ("mu", n(scale.mu - 5))]
        },
    );
}

#[test]
fn encode8() {
    let cases = random(400_000, |r| {
        let bits = 2 + r.below(21) as u32;
        let mut x = eight(|| r.signed(bits) as i32);
        // The largest of the head lies here, at both ends, or elsewhere.
        let elsewhere = r.unsigned(21) as u32;
        let max = Magnitude8::model(&x).max(if r.below(2) == 0 { elsewhere } else { 0 });
        if r.below(2) == 0 {
            (x[0], x[7]) = (max as i32, !max as i32);
        }
        (x, HeadScale::model(max))
    });
    Bench::new("encode8", Encode8::LATENCY).check(
        cases,
        |(x, scale)| {
            [
                ("x", lanes(22, x)),
                ("e", n(scale.e)),
                ("mu", n(scale.mu - 5)),
            ]
        },
        |&(x, scale)| [("m", lanes(8, &Encode8::model(x, scale)))],
    );
}

/// The step and index for which the generator yields `drawn`: its rounds undone,
/// from any other half `x` of its last state.
fn inputs_that_draw(drawn: u32, mut x: u32, key: Key) -> (u32, u32) {
    let mut y = drawn;
    for round in (0..8).rev() {
        y = (y ^ x).rotate_right(3);
        x ^= (if round & 1 == 1 { key.k1 } else { key.k0 }).wrapping_add(round);
        x = x.wrapping_sub(y).rotate_left(8);
    }
    (x, y)
}

#[test]
fn gumbel_noise() {
    // Every table entry and every number of leading zeros, at both ends.
    let segments =
        (0..32).flat_map(|zeros| (0..32u64).map(move |i| ((32 + i) << 27 >> zeros) as u32));
    let corners: Vec<u32> = segments
        .flat_map(|r| [r.wrapping_sub(1), r, r + 1])
        .chain([0, 1, u32::MAX])
        .collect();
    let mut undo = Random(1);
    let corners = corners.into_iter().map(move |drawn| {
        let key = Key::from(undo.next());
        let (step, i) = inputs_that_draw(drawn, undo.next() as u32, key);
        assert_eq!(prng(key, step, i), drawn);
        assert_eq!(Gumbel::model(key, step, i), gumbel(drawn));
        (key, step, i)
    });
    let cases = random(200_000, |r| {
        (
            Key::from(r.next()),
            r.unsigned(32) as u32,
            r.unsigned(32) as u32,
        )
    });
    Bench::new("gumbel", Gumbel::LATENCY).check(
        corners.chain(cases),
        |&(key, step, i)| {
            [
                ("k0", n(key.k0)),
                ("k1", n(key.k1)),
                ("step", n(step)),
                ("i", n(i)),
            ]
        },
        |&(key, step, i)| [("noise", n(Gumbel::model(key, step, i)))],
    );
}

#[test]
fn temperature() {
    let cases = random(300_000, |r| (r.signed(24) as i32, r.unsigned(16) as u16));
    Bench::new("temperature", Temperature::LATENCY).check(
        cases,
        |&(logit, it)| [("logit", n(logit)), ("it", n(it))],
        |&(logit, it)| [("z", n(Temperature::model(logit, it)))],
    );
}

#[test]
fn magnitude8() {
    let cases = random(300_000, |r| (eight(|| r.signed(22) as i32), r.next() as u8));
    Bench::new("magnitude8", Magnitude8::LATENCY).check(
        cases,
        |&(x, valid)| [("x", lanes(22, &x)), ("valid", n(valid))],
        |&(x, valid)| {
            let x: Vec<i32> = (0..8)
                .filter(|i| valid >> i & 1 == 1)
                .map(|i| x[i])
                .collect();
            [("max", n(Magnitude8::model(&x)))]
        },
    );
}

fn score_max<const N: usize, const N16: usize>(cell: &'static str) {
    let cases = random(200_000, |r| {
        let s: [i16; N] = std::array::from_fn(|_| r.signed(16) as i16);
        let few = r.next() as u16 & r.next() as u16;
        (s, few & r.next() as u16 | few >> r.below(16))
    });
    Bench::new(cell, ScoreMax::<N, N16>::LATENCY).check(
        cases,
        |(s, valid)| [("s", lanes(16, s)), ("valid", n(*valid))],
        |&(s, valid)| {
            let scores = (0..N).filter(|i| valid >> i & 1 == 1).map(|i| s[i]);
            let max = ScoreMax::<N, N16>::model(scores);
            [
                ("max", n(max.unwrap_or(i16::MIN))),
                ("any", n(max.is_some())),
            ]
        },
    );
}

#[test]
fn score_max_of_any_number() {
    score_max::<16, 256>("score_max16");
    score_max::<5, 80>("score_max5");
    score_max::<1, 16>("score_max1");
}

#[test]
fn sum_p8() {
    let cases = random(100_000, |r| eight(|| r.unsigned(8) as u8));
    Bench::new("sum_p8", SumP8::LATENCY).check(
        cases.chain([[127; 8], [255; 8]]),
        |p| [("p", lanes(8, p))],
        |&p| [("sum", n(SumP8::model(p)))],
    );
}

#[test]
fn v_code_of_every_value() {
    Bench::new("v_code", VCode::LATENCY).check(
        i16::MIN..=i16::MAX,
        |&v| [("v", n(v))],
        |&v| [("m", n(VCode::model(v)))],
    );
}

#[test]
fn crc24_of_streams() {
    // A case holds the checksum after it, for it depends on all before.
    let mut crc = Crc32::new();
    let cases = random(200_000, move |r| {
        let clear = r.below(1000) == 0;
        let values: Vec<i32> = (0..r.below(3)).map(|_| r.signed(24) as i32).collect();
        crc = Crc24::model(if clear { Crc32::new() } else { crc }, &values);
        (clear, values, crc.value())
    });
    let first = (true, Vec::new(), 0);
    Bench::new("crc24", Crc24::LATENCY).check(
        [first].into_iter().chain(cases),
        |(clear, values, _)| {
            // What is not valid must not matter.
            let d = |i: usize| n(values.get(i).copied().unwrap_or(0x5a_5a5a));
            let (valid0, valid1) = (n(!values.is_empty()), n(values.len() == 2));
            [
                ("clear", n(*clear)),
                ("valid0", valid0),
                ("d0", d(0)),
                ("valid1", valid1),
                ("d1", d(1)),
            ]
        },
        |&(_, _, crc)| [("crc", n(crc))],
    );
}
