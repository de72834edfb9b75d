//! `annulus compare`: rows that run, rows that cannot, and a row that lies.

use crate::cuda::{emulated, has_driver};
use crate::run::{line, ran, repository};
use annulus_contract::shape::clock_of_board;
use serde_json::Value;
use std::fs;

fn rows(json: &Value) -> &Vec<Value> {
    json["rows"].as_array().expect("rows")
}

#[test]
fn rows_that_cannot_run_say_why() {
    if has_driver() {
        return;
    }
    let json = line(
        "compare --model names --backends serial,cuda,cpu --temperature 1 -n 30 --runs 3 --json",
    )
    .json();
    let names: Vec<_> = rows(&json)
        .iter()
        .map(|row| {
            (
                row["backend"].as_str().unwrap(),
                row["variant"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("serial", ""),
            ("cuda", "persistent"),
            ("cuda", "graph"),
            ("cuda", "batched"),
            ("cpu", "one core"),
            ("cpu", "all cores"),
        ]
    );
    for row in &rows(&json)[1..4] {
        let why = row["could_not_run"].as_str().unwrap();
        assert!(why.contains("no NVIDIA driver"), "{why}");
    }
    for row in &rows(&json)[4..] {
        let ran = &row["ran"];
        assert_eq!(ran["token_hash"], json["token_hash"]);
        assert_eq!(ran["evidence"], "measured");
        // Joules or a reason.
        let energy = &ran["energy"];
        assert!(energy["joules_per_token"].is_number() || energy["why"].is_string());
    }
    let one = &rows(&json)[4]["ran"];
    let rate = &one["tokens_per_second"];
    assert!(rate["min"].as_f64() <= rate["median"].as_f64(), "{rate}");
    assert!(rate["median"].as_f64() <= rate["max"].as_f64(), "{rate}");
    assert!(
        one["token_us_p50"].as_f64() <= one["token_us_p99"].as_f64(),
        "{one}"
    );
    assert!(rows(&json)[5]["ran"]["tokens_per_second"].is_null());
}

#[test]
fn cycles_become_seconds_with_a_clock_only() {
    let words = "compare --model names --backends sim --lanes 48 -n 20 --runs 1 --json";
    let without = line(words).json();
    let sim = &rows(&without)[0]["ran"];
    assert_eq!(sim["evidence"], "simulated");
    assert!(sim["tokens_per_second"].is_null() && sim["first_token_us"].is_null());
    let cycles = sim["cycles_per_token"].as_f64().unwrap();
    let with = line(&format!("{words} --clock 50 --board-watts 2")).json();
    let sim = &rows(&with)[0]["ran"];
    assert_eq!(sim["evidence"], "derived");
    assert_eq!(sim["cycles_per_token"].as_f64(), Some(cycles));
    let rate = sim["tokens_per_second"]["median"].as_f64().unwrap();
    assert!((rate * cycles / 50e6 - 1.0).abs() < 1e-9, "{sim}");
    let joules = sim["energy"]["joules_per_token"].as_f64().unwrap();
    assert!((joules * rate / 2.0 - 1.0).abs() < 1e-9, "{sim}");
}

#[test]
fn a_boards_core_runs_at_its_boards_clock() {
    let words = "compare --model names --backends sim --cores 8,pico-ice -n 5 --runs 1 --json";
    let json = line(words).json();
    let [lanes, board] = [&rows(&json)[0]["ran"], &rows(&json)[1]["ran"]];
    assert_eq!(lanes["evidence"], "simulated");
    assert_eq!(board["evidence"], "derived");
    let rate = board["tokens_per_second"]["median"].as_f64().unwrap();
    let cycles = board["cycles_per_token"].as_f64().unwrap();
    let hertz = f64::from(clock_of_board("pico-ice").expect("a board"));
    assert!((rate * cycles / hertz - 1.0).abs() < 1e-9, "{board}");
}

#[test]
fn all_ways_of_a_gpu_give_the_same_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = "compare --model names --backends cuda,cpu --temperature 0.8 -n 24 --runs 1 --streams 3 --json";
    let json = ran(&mut emulated(folder.path(), words)).json();
    for row in &rows(&json)[..3] {
        let ran = &row["ran"];
        assert_eq!(ran["token_hash"], json["token_hash"], "{row}");
        // An interpreter's times are no figures.
        assert_eq!(ran["evidence"], "emulated", "{row}");
        assert!(ran["tokens_per_second"].is_null(), "{row}");
    }
    assert_eq!(rows(&json)[2]["ran"]["streams"], 3);
}

#[test]
fn a_row_with_other_tokens_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let ptx = fs::read_to_string(repository().join("kernels/ptx/annulus.ptx")).expect("our PTX");
    let faulty = ptx.replace("RC[4] = {205,", "RC[4] = {155,");
    assert_ne!(faulty, ptx);
    let path = folder.path().join("faulty.ptx");
    fs::write(&path, faulty).expect("a file");
    let words = "compare --model names --backends cuda,cpu --temperature 0.8 -n 60 --runs 1";
    let run = ran(emulated(folder.path(), words).env("ANNULUS_CUDA_PTX", &path));
    assert!(
        run.sentence().contains("cuda (persistent): token"),
        "{run:?}"
    );
    assert!(run.sentence().contains("on cpu"), "{run:?}");
    assert!(run.out.contains("WRONG TOKENS"), "{run:?}");
}

#[test]
fn chart_and_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let (svg, report) = (
        folder.path().join("rates.svg"),
        folder.path().join("report.md"),
    );
    let words = format!(
        "compare --model names --backends cpu -n 20 --runs 1 --svg {} --report {}",
        svg.display(),
        report.display()
    );
    let table = line(&words).ok();
    assert!(table.contains("| cpu, one core |"), "{table}");
    let svg = fs::read_to_string(svg).expect("a chart");
    assert!(
        svg.starts_with("<svg") && svg.contains("cpu, one core"),
        "{svg}"
    );
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.contains(&table));
    let json = report
        .split("```json\n")
        .nth(1)
        .and_then(|r| r.split("```").next());
    let json: Value = serde_json::from_str(json.expect("figures")).expect("JSON");
    assert_eq!(rows(&json).len(), 2);
}

#[test]
fn nothing_to_compare() {
    let none = line("compare --model names --backends cpu -n 0");
    assert!(none.sentence().contains("at least one token"), "{none:?}");
    let none = line("compare --model names --backends cpu --runs 0");
    assert!(none.sentence().contains("one run"), "{none:?}");
    let chart = line("compare --model names --backends serial -n 5 --runs 1 --svg /tmp/never.svg");
    assert!(chart.sentence().contains("nothing to draw"), "{chart:?}");
    assert_eq!(line("compare --model names --clock 0").status, 2);
}
