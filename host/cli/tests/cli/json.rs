//! What scripts read.

use crate::run::{data, line};
use serde_json::Value;

/// The fields of an object.
fn fields(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has(value: &Value, names: &[&str]) {
    let fields = fields(value);
    for name in names {
        assert!(fields.contains(name), "{name} is not among {fields:?}");
    }
}

#[test]
fn generate() {
    let report =
        line("generate --model names --backend sim -n 30 --seed 2 --temperature 0.7 --json").json();
    has(
        &report,
        &[
            "backend",
            "model",
            "lanes",
            "window",
            "sinks",
            "seed",
            "temperature",
            "n",
            "forward_passes",
            "stopped",
        ],
    );
    has(
        &report,
        &[
            "prompt_tokens",
            "tokens",
            "text",
            "prompt_tokens_per_second",
            "decode_tokens_per_second",
        ],
    );
    has(&report, &["cycles", "cycles_per_token"]);
    assert_eq!(
        (&report["backend"], &report["lanes"], &report["window"]),
        (&"sim".into(), &64.into(), &16.into())
    );
    let mean = report["cycles_per_token"].as_f64().expect("cycles");
    assert_eq!(report["cycles"].as_f64(), Some((30.0 * mean).round()));
    let cpu =
        line("generate --model names --backend cpu -n 30 --seed 2 --temperature 0.7 --json").json();
    assert_eq!(
        (&cpu["tokens"], &cpu["cycles"]),
        (&report["tokens"], &Value::Null)
    );
}

#[test]
fn verify() {
    let report =
        line("verify --model names --backends sim,cpu --reference --temperature 0.8 -n 120 --json")
            .json();
    assert_eq!(report["equal"], true);
    assert_eq!(
        report["backends"],
        serde_json::json!(["sim", "cpu", "reference"])
    );
    assert_eq!(
        (&report["positions"], &report["logits"]),
        (&120.into(), &(120 * 27).into())
    );
    assert!(report["restarts"].as_u64() > Some(5), "{report}");
    assert_eq!(report["difference"], Value::Null);
}

#[test]
fn bench() {
    let report =
        line("bench --model names --backend sim --lanes 48 --temperature 0.8 --json").json();
    has(
        &report,
        &[
            "backend",
            "model",
            "lanes",
            "window",
            "sinks",
            "tokens",
            "positions",
            "ideal_cycles",
            "mac_utilization",
        ],
    );
    has(
        &report,
        &[
            "cycles_by_step",
            "tokens_per_second",
            "evidence",
            "predicted_cycles",
        ],
    );
    let cycles = &report["cycles_per_token"];
    assert_eq!(fields(cycles), ["by_position", "max", "mean", "min"]);
    let by_position: Vec<f64> = cycles["by_position"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    assert_eq!(by_position.len(), 16, "every position of the model");
    let mean = cycles["mean"].as_f64().expect("a mean");
    assert!(
        (mean - by_position.iter().sum::<f64>() / 16.0).abs() < 1e-6,
        "all positions count the same"
    );
    assert!(mean <= 450.0, "{mean}");
    let number = |name: &str| report[name].as_f64().expect("a number");
    assert!((number("mac_utilization") - number("ideal_cycles") / mean).abs() < 1e-9);
    // 4,192 weights, less the rows of tables but one of two, and attention over 8.5 positions on average.
    let macs = 4.0 * 256.0 + 2.0 * 1024.0 + 27.0 * 16.0 + 2.0 * 16.0 * 8.5;
    assert!((number("ideal_cycles") - macs / 48.0).abs() < 1e-9);
    let steps: f64 = report["cycles_by_step"]
        .as_object()
        .expect("steps")
        .values()
        .filter_map(Value::as_f64)
        .sum();
    assert!(steps <= mean && steps > 0.9 * mean, "{steps} of {mean}");
    assert_eq!(report["evidence"], "simulated");
    let error = report["predicted_cycles"]["largest_error"]
        .as_f64()
        .expect("a share");
    assert!(error <= 0.02, "the cycle model is off by {error}");
}

#[test]
fn bench_derives_a_board_s_rate_from_its_clock() {
    let report = line("bench --model names --board pico-ice -n 16 --json").json();
    let number = |value: &Value| value.as_f64().expect("a number");
    let on = &report["on_board"];
    assert_eq!(on["board"], "pico-ice");
    let hertz = 1e6 * number(&on["clock_mhz"]);
    let cycles = number(&report["cycles_per_token"]["mean"]);
    let rate = number(&on["derived_tokens_per_second"]);
    assert!((rate - hertz / cycles).abs() < 1e-6 * rate, "{on}");
    let processor = line("bench --model names --board pico-ice --backend cpu -n 16 --json").json();
    assert!(processor["on_board"].is_null(), "a processor is no board");
}

#[test]
fn bench_measures_a_full_ring() {
    let Some(_) = data("stories260K.bin") else {
        return;
    };
    let report = line("bench --model stories260K --backend sim --window 128 -n 12 --json").json();
    assert_eq!(report["positions"], serde_json::json!([128, 140]));
    assert_eq!(report["ideal_cycles"], report["ideal_cycles_full_ring"]);
    assert!(
        (report["ideal_cycles"].as_f64().expect("a number") - 5332.0).abs() < 1.0,
        "{report}"
    );
    assert!(
        report["cycles_per_token"]["mean"].as_f64() <= Some(6930.0),
        "{report}"
    );
    let cpu = line("bench --model stories260K --backend cpu --positions 0..64 -n 64 --json").json();
    assert_eq!(
        (&cpu["cycles_per_token"], &cpu["evidence"]),
        (&Value::Null, &"measured".into())
    );
    assert_eq!(cpu["positions"], serde_json::json!([0, 64]));
}

#[test]
fn eval() {
    let (Some(_), Some(text)) = (data("stories260K.bin"), data("tinystories-val.txt")) else {
        return;
    };
    let report = line(&format!(
        "eval --model stories260K --text {} --window 128 --tokens 4000 --json",
        text.display()
    ))
    .json();
    let number = |name: &str| report[name].as_f64().expect("a number");
    assert_eq!(report["tokens"], 4000);
    assert!(
        (number("perplexity") / number("perplexity_f32") - 1.0).abs() < 0.008,
        "{report}"
    );
    assert!(number("top1") >= 0.96 && number("kl") < 0.01, "{report}");
}

#[test]
fn a_text_read_twice_in_one_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("play.txt");
    std::fs::write(&text, "ROMEO:\nWhat light is this?\n".repeat(20)).expect("a file");
    let report = line(&format!(
        "eval --model shakespeare --text {} --last 50% --passes 2 --json",
        text.display()
    ))
    .json();
    let passes = report["passes"].as_array().expect("passes");
    assert_eq!((&report["window"], passes.len()), (&128.into(), 2));
    assert_eq!(
        (&passes[0]["from"], &passes[1]["from"]),
        (&0.into(), &270.into())
    );
    for pass in passes {
        let number = |name: &str| pass[name].as_f64().expect("a number");
        assert_eq!(number("tokens"), 270.0);
        assert!(
            (number("loss") - number("loss_f32")).abs() < 0.05,
            "{report}"
        );
    }
}

#[test]
fn the_design_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let (text, svg) = (
        folder.path().join("play.txt"),
        folder.path().join("space.svg"),
    );
    std::fs::write(&text, "ROMEO:\nWhat light is this?\n".repeat(20)).expect("a file");
    let report = line(&format!(
        "explore --model shakespeare --text {} --cores 16,64 --windows 8,2000 --clock 50 --svg {} --json",
        text.display(),
        svg.display()
    ))
    .json();
    let points = report["points"].as_array().expect("points");
    let all: Vec<_> = points
        .iter()
        .map(|p| (p["weight_bits"].as_u64(), p["value_bits"].as_u64()))
        .collect();
    let core = [(8, 8), (8, 4), (4, 8), (4, 4)].map(|(w, v)| [(Some(w), Some(v)); 2]);
    assert_eq!(all, [core; 2].as_flattened().as_flattened());
    let losses = points.iter().filter_map(|p| p["loss"].as_f64());
    let least = losses.fold(f64::INFINITY, f64::min);
    for point in points {
        if point["window"] == 2000 {
            assert!(point["refused"]
                .as_str()
                .is_some_and(|why| why.contains("1 to 1024")));
            continue;
        }
        has(
            point,
            &[
                "core",
                "lanes",
                "loss",
                "loss_f32",
                "kl",
                "weight_bytes",
                "ring_bytes",
            ],
        );
        let number = |name: &str| point[name].as_f64().expect("a number");
        // The last digit of a number may be lost on its way through text.
        let error = number("tokens_per_second") * number("cycles") / 50e6 - 1.0;
        assert!(error.abs() < 1e-12, "{error}");
        assert_eq!(point["evidence"], "model");
        // Of two cores that lose least one has fewer lanes, the other takes fewer cycles.
        assert!(number("loss") > least || point["pareto"] == true, "{point}");
    }
    let picture = std::fs::read_to_string(svg).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.contains("<circle"));
}

#[test]
fn the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("names.annulus");
    let report = line(&format!(
        "quantize --model names --out {} --json",
        image.display()
    ))
    .json();
    assert_eq!(
        report["bytes"].as_u64(),
        Some(std::fs::metadata(&image).expect("an image").len())
    );
    let report = line(&format!("inspect --model {} --json", image.display())).json();
    assert_eq!(
        (&report["name"], &report["parameters"]),
        (&"names".into(), &4192.into())
    );
    has(
        &report,
        &[
            "lanes", "window", "sinks", "config", "formats", "bytes", "steps", "needs", "cores",
        ],
    );
    let report = line("verilog --lanes 16 --json").json();
    assert!(
        report["verilog"]
            .as_str()
            .expect("text")
            .contains("module top"),
        "{report}"
    );
    assert_eq!(report["lanes"], 16);
    for backend in ["cpu", "sim", "reference"] {
        let report = line(&format!(
            "selftest --model names --backend {backend} --json"
        ))
        .json();
        assert_eq!(
            (&report["backend"], &report["passed"]),
            (&backend.into(), &true.into())
        );
    }
}
