//! Properties of the arithmetic: rounding, symmetry, ranges and the error
//! bounds that `docs/arithmetic.md` states.

use annulus_contract::block::*;
use annulus_contract::exp2::exp2p;
use annulus_contract::feed_forward::{swiglu, SwigluFormat};
use annulus_contract::fixed::*;
use annulus_contract::hadamard::hadamard;
use annulus_contract::recip::recip;
use annulus_contract::rope::Rotation;
use annulus_contract::rsqrt::rsqrt;
use annulus_contract::sample::*;
use annulus_contract::sigmoid::sigmoid;
use annulus_contract::stage::*;
use annulus_contract::trig::{cos, sin};
use proptest::prelude::*;

fn int16() -> impl Strategy<Value = i32> {
    -32768..=32767i32
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rshr_rounds_halves_up(x in -(1i64 << 48)..1i64 << 48, s in 0..=31) {
        let unit = 1i64 << s;
        // The nearest multiple; of two equally near ones the larger.
        prop_assert_eq!(rshr(x, s), (2 * x + unit).div_euclid(2 * unit));
        prop_assert_eq!(rshr(x, -s.min(14)), x * (1i64 << s.min(14)));
    }

    #[test]
    fn sat_is_a_clamp(x in any::<i32>(), bits in 2..=24u32) {
        let top = (1i64 << (bits - 1)) - 1;
        prop_assert_eq!(sat(x.into(), bits), i64::from(x).clamp(-top - 1, top));
    }

    #[test]
    fn bfp_holds_the_vector(x in prop::collection::vec(-(1 << 21)..1 << 21i32, 1..65), down in 0..22) {
        let x: Vec<i32> = x.iter().map(|v| v >> down).collect();
        for quarter in [false, true] {
            let mut m = vec![0; x.len()];
            let scale = if quarter { encode_bfp(&x, &mut m) } else { encode_block(&x, &mut m) };
            prop_assert!((5..=8).contains(&scale.mu) && scale.e <= 14);
            let unit = f64::from(scale.mu) / 8.0 * f64::from(scale.e).exp2();
            for (&x, &m) in x.iter().zip(&m) {
                if scale.e == 0 {
                    prop_assert_eq!(x, i32::from(m));
                }
                // Half a unit, plus RC's rounding (at most 0.1% of 128), plus clamping at the top.
                prop_assert!((f64::from(x) / unit - f64::from(m)).abs() <= 1.0, "{} {} {:?}", x, m, scale);
            }
            if scale.e > 0 {
                let largest = m.iter().map(|&m| i32::from(m).abs()).max().unwrap();
                prop_assert!(largest >= if quarter { 99 } else { 63 }, "a bit is wasted: {}", largest);
            }
        }
    }

    #[test]
    fn bfp_scale_is_the_smallest_that_fits(max in 128..1u32 << 22) {
        let scale = bfp_scale(max, 8);
        // The 11-bit compare that hardware does.
        let fits = |c: u32| (8 * max - 1) >> scale.e < 127 * c;
        prop_assert_eq!(u32::from(scale.mu), (5..8).find(|&c| fits(c)).unwrap_or(8));
    }

    #[test]
    fn rsqrt_is_near(bits in 0..41u32, low in any::<u64>()) {
        let t = 1u64 << bits | low & ((1 << bits) - 1);
        let got = rsqrt(t);
        prop_assert!((16384..=32768).contains(&got.r));
        let value = f64::from(got.r) * (-15.0 - f64::from(got.k)).exp2();
        prop_assert!((value * (t as f64).sqrt() - 1.0).abs() < 3.9e-4);
    }

    #[test]
    fn sine_is_odd_and_near(phase in any::<u32>()) {
        let angle = f64::from(phase) / 2f64.powi(32) * std::f64::consts::TAU;
        prop_assert!((f64::from(sin(phase)) - 16384.0 * angle.sin()).abs() < 3.0);
        prop_assert!((f64::from(cos(phase)) - 16384.0 * angle.cos()).abs() < 3.0);
        prop_assert_eq!(sin(phase.wrapping_add(1 << 31)), -sin(phase));
    }

    #[test]
    fn rotation_keeps_length(a in int16(), b in int16(), phase in any::<u32>()) {
        prop_assume!(f64::from(a).hypot(b.into()) < 32760.0);
        let (x, y) = Rotation::by(phase).apply(a, b);
        prop_assert!((f64::from(x).hypot(y.into()) - f64::from(a).hypot(b.into())).abs() < 12.0);
    }

    #[test]
    fn sigmoid_is_symmetric_and_near(g in int16(), fg in 3..=14u32) {
        let s = sigmoid(g, fg);
        prop_assert!((1..=65535).contains(&s));
        if g != 0 {
            prop_assert_eq!(s + sigmoid(-g, fg), 65536);
        }
        let exact = 65536.0 / (1.0 + (-f64::from(g) / f64::from(fg).exp2()).exp());
        prop_assert!((f64::from(s) - exact).abs() < 60.0, "{} {}", s, exact);
    }

    #[test]
    fn exp2p_falls(d in 0..2000u32) {
        prop_assert!(exp2p(d) <= 127 && exp2p(d + 1) <= exp2p(d));
        prop_assert!((f64::from(exp2p(d)) - 127.0 * (-f64::from(d) / 32.0).exp2()).abs() <= 0.51);
    }

    #[test]
    fn hadamard_twice_scales(x in prop::collection::vec(int16(), 64)) {
        for log in 0..=6 {
            let head = &x[..1 << log];
            let mut twice = head.to_vec();
            hadamard(&mut twice);
            prop_assert!(twice.iter().all(|&v| mag(v) < 1 << (15 + log)));
            hadamard(&mut twice);
            prop_assert!(twice.iter().zip(head).all(|(&a, &b)| a == b << log));
        }
    }

    #[test]
    fn swiglu_is_near(g in int16(), u in int16()) {
        let h = swiglu(g, u, SwigluFormat { gate: 12, up: 12, hidden: 11 });
        let (gate, up) = (f64::from(g) / 4096.0, f64::from(u) / 4096.0);
        let exact = (gate / (1.0 + (-gate).exp()) * up * 2048.0).clamp(-32768.0, 32767.0);
        prop_assert!((f64::from(h) - exact).abs() < 30.0, "{} {}", h, exact);
    }

    #[test]
    fn mix_averages(p in prop::collection::vec(0..=127u32, 0..1023), vm in any::<i8>()) {
        let sum: u32 = p.iter().sum::<u32>() + 127;
        let out = mix(sum as i32 * i32::from(vm), mix_scale(sum));
        // The same value in every slot comes out again, in units of 2^8.
        prop_assert!((out - 256 * i32::from(vm)).abs() <= 12, "{} {}", out, vm);
    }

    #[test]
    fn m16_fits(r in 16384..=32768u16, mu in 5..=8u8) {
        prop_assert!(m16(r, mu) <= 32768);
    }

    #[test]
    fn noise_has_18_bits(r in any::<u32>(), shift in 0..32) {
        let n = gumbel(r >> shift);
        prop_assert!(sat(n.into(), 18) == i64::from(n));
        let v = (f64::from(r >> shift) + 0.5) * 2f64.powi(-32);
        let exact = -2048.0 * (-(-v).ln_1p() / std::f64::consts::LN_2).log2();
        // The last eighth before v = 1 is interpolated to a finite end.
        prop_assert!((f64::from(n) - exact).abs() < 16.0 || v > 0.9, "{} {}", n, exact);
    }

    #[test]
    fn lowest_index_wins(logits in prop::collection::vec(-3..3i32, 1..40)) {
        let max = *logits.iter().max().unwrap();
        prop_assert_eq!(greedy(&logits) as usize, logits.iter().position(|&l| l == max).unwrap());
    }
}

/// Scores of the widest head stay within the widths of section 10.
#[test]
fn dot_of_a_widest_head_fits_22_bits() {
    let d = 64 * 128 * 128;
    assert_eq!(sat(d - 1, 22), d - 1);
    assert!(is_legal_shift(0) && is_legal_shift(31) && !is_legal_shift(32) && !is_legal_shift(-1));
    assert!(is_legal_row_shift(-8) && !is_legal_row_shift(-9));
}

#[test]
fn recip_is_near() {
    let worst = (127..1 << 18).fold(0.0, |worst: f64, sum: u32| {
        let got = recip(sum);
        assert!((32768..=65536).contains(&got.r), "{sum}");
        let value = f64::from(got.r) * (-16.0 - f64::from(got.z)).exp2();
        worst.max((value * f64::from(sum) - 1.0).abs())
    });
    assert!(worst < 2.7e-4, "{worst}");
}
