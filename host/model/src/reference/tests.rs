use super::*;
use crate::random::{random_model, Rng, Shape};
use annulus_contract::crc::Crc32;

/// A small model with everything that has state: RoPE, Hadamard, several heads.
fn model() -> QuantModel {
    let shape = Shape {
        layers: 2,
        hidden: 21,
        heads: 4,
        kv_heads: 2,
        head_size: 4,
        vocab: 20,
        ..Shape::LLAMA
    };
    shape.model(3)
}

fn run(reference: &mut Reference, tokens: impl IntoIterator<Item = u32>) -> u32 {
    let mut crc = Crc32::new();
    for token in tokens {
        crc.update_logits(reference.step(token).unwrap());
    }
    crc.value()
}

#[test]
fn windows_and_sinks_are_checked() {
    let refused = |window, sinks| Reference::new(&model(), window, sinks).unwrap_err();
    assert_eq!(refused(0, 0), ShapeError::Window(0));
    assert_eq!(refused(1025, 0), ShapeError::Window(1025));
    assert_eq!(
        refused(4, 4),
        ShapeError::Sinks {
            sinks: 4,
            window: 4
        }
    );
    let mut sinks = Reference::new(&model(), 4, 1).unwrap();
    assert_eq!(sinks.start_at(7), Err(ShapeError::Start(7)));
    assert_eq!(sinks.start_at(0), Ok(()));
}

#[test]
fn a_malformed_model_is_refused() {
    let mut model = model();
    model.layers[1].w1.mu[3] = 9;
    assert!(matches!(
        Reference::new(&model, 4, 0),
        Err(ShapeError::Model(_))
    ));
}

#[test]
fn an_unknown_token_is_an_error() {
    let mut reference = Reference::new(&model(), 4, 0).unwrap();
    assert_eq!(
        reference.step(20),
        Err(StepError::Token {
            token: 20,
            vocab: 20
        })
    );
    assert_eq!(
        reference.step_silent(u32::MAX),
        Err(StepError::Token {
            token: u32::MAX,
            vocab: 20
        })
    );
}

#[test]
fn an_illegal_shift_is_an_error() {
    for (s, shift) in [(-32, -40..0), (31, 32..60)] {
        let mut model = model();
        model.layers[0].wk.s.fill(s);
        let error = Reference::new(&model, 4, 0).unwrap().step(1).unwrap_err();
        let StepError::Shift {
            stage: "wk",
            shift: found,
        } = error
        else {
            panic!("{error}")
        };
        assert!(shift.contains(&found), "{found}");
    }
}

#[test]
fn reset_forgets_the_stream() {
    let mut reference = Reference::new(&model(), 5, 2).unwrap();
    let first = run(&mut reference, 0..12);
    assert_eq!((reference.position(), reference.taken()), (12, 12));
    assert_ne!(run(&mut reference, 0..12), first);
    reference.reset();
    assert_eq!(run(&mut reference, 0..12), first);
}

#[test]
fn a_clone_is_a_snapshot() {
    let mut reference = Reference::new(&model(), 5, 0).unwrap();
    run(&mut reference, 0..7);
    let mut saved = reference.clone();
    assert_eq!(run(&mut reference, 7..20), run(&mut saved, 7..20));
}

#[test]
fn silent_steps_change_nothing_but_the_logits() {
    let mut loud = Reference::new(&model(), 5, 1).unwrap();
    let mut silent = loud.clone();
    for token in 0..9 {
        loud.step(token).unwrap();
        silent.step_silent(token).unwrap();
    }
    assert_eq!(loud.step(9).unwrap(), silent.step(9).unwrap());
}

#[test]
fn tracing_changes_nothing() {
    let mut plain = Reference::new(&model(), 5, 0).unwrap();
    let mut traced = plain.clone();
    traced.set_tracing(true);
    assert_eq!(run(&mut plain, 0..9), run(&mut traced, 0..9));
    assert_eq!(plain.trace(), None);
    assert_eq!(traced.trace().unwrap().layers.len(), 2);
}

/// The logits of a token depend on the last `window` tokens of each layer
/// only: streams that differ further back than `layers * (window - 1)` agree.
#[test]
fn old_tokens_leave_the_window() {
    let window = 4;
    let mut one = Reference::new(&model(), window, 0).unwrap();
    let mut other = one.clone();
    run(&mut one, [1, 2, 3]);
    run(&mut other, [9, 8, 7]);
    let reach = 2 * (window as u32 - 1);
    assert_ne!(run(&mut one, 0..reach), run(&mut other, 0..reach));
    assert_eq!(run(&mut one, 0..20), run(&mut other, 0..20));
}

/// A sink is never overwritten: the first token counts for ever.
#[test]
fn sinks_stay() {
    let mut one = Reference::new(&model(), 5, 1).unwrap();
    let mut other = one.clone();
    run(&mut one, [1]);
    run(&mut other, [9]);
    assert_ne!(
        run(&mut one, (0..20).cycle().take(100)),
        run(&mut other, (0..20).cycle().take(100))
    );
}

/// RoPE is relative: with the query's and key's rotations rounded the far
/// stream differs a little, and it must not differ more.
#[test]
fn a_far_start_is_near_the_same() {
    let mut near = Reference::new(&model(), 8, 0).unwrap();
    let mut far = near.clone();
    far.start_at(4_000_000_000).unwrap();
    assert_eq!(far.position(), 4_000_000_000);
    for token in 0..20 {
        let (a, b) = (near.step(token).unwrap(), far.step(token).unwrap());
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).max().unwrap();
        let size = a.iter().map(|a| a.abs()).max().unwrap();
        assert!(apart * 8 < size, "token {token}: {apart} of {size}");
    }
}

/// Random models use their int16 range and seldom leave it, unless told to.
#[test]
fn random_models_are_realistic() {
    let mut peaks: [Vec<i32>; 6] = Default::default();
    for seed in 0..60 {
        let shape = Shape {
            saturating: false,
            ..Shape::random(&mut Rng::new(seed))
        };
        let mut reference = Reference::new(&shape.model(seed), 8, 0).unwrap();
        reference.set_tracing(true);
        let mut peak = [0; 6];
        for token in 0..12 {
            reference.step_silent(token).unwrap();
            for layer in &reference.trace().unwrap().layers {
                let vectors = [
                    &layer.x,
                    &layer.q,
                    &layer.k,
                    &layer.v,
                    &layer.ao,
                    &layer.gate,
                ];
                for (peak, vector) in peak.iter_mut().zip(vectors) {
                    *peak = vector.iter().fold(*peak, |peak, v| peak.max(v.abs()));
                }
            }
        }
        for (all, peak) in peaks.iter_mut().zip(peak) {
            all.push(peak);
        }
    }
    for (name, mut peaks) in ["x", "q", "k", "v", "ao", "gate"].into_iter().zip(peaks) {
        peaks.sort_unstable();
        let median = peaks[peaks.len() / 2];
        let clipped = peaks.iter().filter(|&&peak| peak >= 32767).count();
        assert!(
            (2500..30000).contains(&median),
            "{name}: median peak {median}"
        );
        assert!(clipped * 4 < peaks.len(), "{name}: {clipped} clip");
    }
    assert_eq!(random_model(11), random_model(11));
    assert_ne!(random_model(11), random_model(12));
}
