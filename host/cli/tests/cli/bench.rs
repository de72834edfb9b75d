//! Baselines, and the template workflow that uses them.

use crate::run::{command, line, ran, repository};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

#[test]
fn a_regression_ends_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("base.json");
    let bench = |more: &str| line(&format!("bench --model names --backend sim -n 16 {more}"));
    let mut baseline = bench("--json").json();
    let against = |baseline: &serde_json::Value, limit: &str| {
        fs::write(&file, baseline.to_string()).expect("a file");
        bench(&format!(
            "--baseline {} --max-regression {limit} --json",
            file.display()
        ))
    };
    assert_eq!(
        against(&baseline, "0%").status,
        0,
        "cycles do not depend on the run"
    );
    let mean = baseline["cycles_per_token"]["mean"]
        .as_f64()
        .expect("a mean");
    baseline["cycles_per_token"]["mean"] = (mean / 1.03).into();
    assert_eq!(against(&baseline, "4%").status, 0);
    let run = against(&baseline, "2%");
    let sentence = run.sentence();
    assert!(
        sentence.starts_with("cycles per token went from ") && sentence.contains("3.00% worse"),
        "{sentence}"
    );
    assert!(
        run.out.starts_with('{'),
        "the report is written all the same"
    );
    // Faster is no regression.
    baseline["cycles_per_token"]["mean"] = (2.0 * mean).into();
    assert_eq!(against(&baseline, "0%").status, 0);

    baseline["lanes"] = 48.into();
    let run = against(&baseline, "2%");
    assert!(
        run.sentence()
            .contains("measured with lanes 48, this run with 64"),
        "{run:?}"
    );
    fs::write(&file, "{").expect("a file");
    let run = bench(&format!("--baseline {}", file.display()));
    assert!(
        run.sentence().contains("base.json cannot be used"),
        "{run:?}"
    );
    let run = bench("--baseline no-such-file");
    assert!(
        run.sentence().contains("no-such-file cannot be used"),
        "{run:?}"
    );
}

/// Runs a line of shell in `folder` as the workflow's runner would, with the
/// program on the search path.
fn shell(folder: &std::path::Path, script: &str) -> crate::run::Ran {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", script]).current_dir(folder);
    shell
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("MODEL", "names");
    ran(&mut shell)
}

#[test]
fn the_template_workflow_works() {
    let template =
        fs::read_to_string(repository().join("docs/ci-template.yml")).expect("the template");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("bin")).expect("a folder");
    symlink(command().get_program(), folder.path().join("bin/annulus")).expect("a link");
    assert!(
        template.contains("\n  MODEL: names\n"),
        "the test sets what the template sets"
    );

    // The comment says how the baseline is made; the workflow's steps then use it.
    let baseline = template
        .lines()
        .find_map(|l| l.strip_prefix("#     annulus "))
        .expect("how to make a baseline");
    shell(folder.path(), &format!("annulus {baseline}")).ok();
    let steps: Vec<&str> = template
        .lines()
        .filter_map(|l| l.trim().strip_prefix("run: annulus "))
        .collect();
    assert_eq!(steps.len(), 2, "verify and bench");
    for step in &steps {
        shell(folder.path(), &format!("annulus {step}")).ok();
    }

    // A core that became slower turns the workflow red.
    let file = folder.path().join("bench.json");
    let mut report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).expect("a report")).expect("JSON");
    let mean = report["cycles_per_token"]["mean"].as_f64().expect("a mean");
    report["cycles_per_token"]["mean"] = (0.9 * mean).into();
    fs::write(&file, report.to_string()).expect("a file");
    assert_eq!(
        shell(folder.path(), &format!("annulus {}", steps[1])).status,
        1
    );
}
