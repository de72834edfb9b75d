//! The float32 forward pass against a plain one in float64 that keeps the whole
//! history and picks the positions that a ring would still hold.

mod common;

use annulus_model::float::{FloatModel, FloatState, StateError};
use annulus_model::random::Rng;
use common::{llama, microgpt, Sizes, SMALL};

/// Keys before rotation and values of every token so far, by layer.
type History = Vec<Vec<(Vec<f64>, Vec<f64>)>>;

fn product(w: &[f32], x: &[f64]) -> Vec<f64> {
    w.chunks(x.len())
        .map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum())
        .collect()
}

fn norm(x: &[f64], gain: Option<&Vec<f32>>, eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = (mean + f64::from(eps)).sqrt().recip();
    x.iter()
        .enumerate()
        .map(|(i, x)| x * scale * gain.map_or(1.0, |g| f64::from(g[i])))
        .collect()
}

fn rotated(model: &FloatModel, head: &[f64], position: usize) -> Vec<f64> {
    let Some(base) = model.rope_base else {
        return head.to_vec();
    };
    let mut turned = head.to_vec();
    for c in 0..head.len() / 2 {
        let angle = position as f64 * f64::from(base).powf(-2.0 * c as f64 / head.len() as f64);
        let (a, b) = (head[2 * c], head[2 * c + 1]);
        turned[2 * c] = a * angle.cos() - b * angle.sin();
        turned[2 * c + 1] = a * angle.sin() + b * angle.cos();
    }
    turned
}

fn plain_step(
    model: &FloatModel,
    history: &mut History,
    token: usize,
    window: usize,
    sinks: usize,
) -> Vec<f64> {
    let t = history[0].len();
    let size = model.head_size;
    let mut x: Vec<f64> = model.embedding[token * model.dim..][..model.dim]
        .iter()
        .map(|&e| e.into())
        .collect();
    if let Some(row) = model.position_row(t as u64) {
        x.iter_mut().zip(row).for_each(|(x, &p)| *x += f64::from(p));
    }
    if model.embedding_norm {
        x = norm(&x, None, model.eps);
    }
    for (layer, history) in model.layers.iter().zip(history) {
        let normed = norm(&x, Some(&layer.attention_norm), model.eps);
        let q = product(&layer.wq, &normed);
        history.push((product(&layer.wk, &normed), product(&layer.wv, &normed)));
        let mut attended = Vec::new();
        for head in 0..model.heads {
            let q = &q[head * size..][..size];
            let kv = head / (model.heads / model.kv_heads) * size;
            let held = |p: &usize| *p < sinks || p + (window - sinks) > t;
            let positions: Vec<usize> = (0..=t).filter(held).collect();
            let weights: Vec<f64> = positions
                .iter()
                .map(|&p| {
                    let from = if p < sinks { t.min(window - 1) } else { t };
                    let (q, k) = (
                        rotated(model, q, from),
                        rotated(model, &history[p].0[kv..][..size], p),
                    );
                    let score: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
                    (score / (size as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for c in 0..size {
                let sum: f64 = positions
                    .iter()
                    .zip(&weights)
                    .map(|(&p, w)| w * history[p].1[kv + c])
                    .sum();
                attended.push(sum / total);
            }
        }
        x.iter_mut()
            .zip(product(&layer.wo, &attended))
            .for_each(|(x, y)| *x += y);
        let normed = norm(&x, Some(&layer.ffn_norm), model.eps);
        let gate = product(&layer.w1, &normed);
        let hidden: Vec<f64> = match &layer.w3 {
            None => gate.iter().map(|g| g.max(0.0)).collect(),
            Some(w3) => gate
                .iter()
                .zip(product(w3, &normed))
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect(),
        };
        x.iter_mut()
            .zip(product(&layer.w2, &hidden))
            .for_each(|(x, y)| *x += y);
    }
    if model.final_norm.is_some() {
        x = norm(&x, model.final_norm.as_ref(), model.eps);
    }
    product(model.classifier.as_ref().unwrap_or(&model.embedding), &x)
}

#[test]
fn rings_and_sinks_hold_what_they_should() {
    let wide = Sizes {
        heads: 6,
        kv_heads: 3,
        head_size: 6,
        hidden: 45,
        context: 12,
        ..SMALL
    };
    let models = [
        llama(SMALL, true, 1),
        llama(wide, false, 2),
        microgpt(SMALL, 3),
        microgpt(wide, 4),
    ];
    for (m, model) in models.iter().enumerate() {
        for (window, sinks) in [(64, 0), (8, 0), (5, 0), (1, 0), (7, 3), (2, 1)] {
            let mut state = FloatState::new(model, window, sinks).unwrap();
            let mut rng = Rng::new(m as u64);
            for _ in 0..2 {
                state.restart();
                let mut history: History = vec![Vec::new(); model.layers.len()];
                for t in 0..30 {
                    assert_eq!(state.position(), t);
                    let token = rng.within(0, 15) as u32;
                    let plain = plain_step(model, &mut history, token as usize, window, sinks);
                    for (ours, plain) in state.step(token).unwrap().iter().zip(plain) {
                        let error = (f64::from(*ours) - plain).abs();
                        assert!(
                            error < 2e-4,
                            "model {m}, W={window}, S={sinks}, t={t}: {ours} for {plain}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn windows_sinks_and_tokens_are_checked() {
    let model = llama(SMALL, true, 1);
    let refusal = |window, sinks| {
        FloatState::new(&model, window, sinks)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refusal(0, 0),
        "the window is 0 positions, but must be at least 1"
    );
    assert_eq!(
        refusal(4, 4),
        "4 sinks leave no slot of a window of 4 to the ring"
    );
    let mut state = FloatState::new(&model, 4, 0).unwrap();
    assert_eq!(
        state.step(16),
        Err(StateError::UnknownToken {
            token: 16,
            vocab: 16
        })
    );
    assert_eq!(state.position(), 0);
}
