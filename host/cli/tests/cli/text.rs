//! Text: what is written, and that it does not depend on the backend.

use crate::run::{annulus, command, data, line};
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

const KNOWN: &str =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";

fn stories(backend: &str, more: &str) -> Option<String> {
    data("stories260K.bin")?;
    Some(
        line(&format!(
            "generate --model stories260K --backend {backend} {more}"
        ))
        .ok(),
    )
}

#[test]
fn stories_open_as_the_known_text_does() {
    for backend in ["cpu", "sim"] {
        let Some(text) = stories(backend, "--window 128 -n 64") else {
            return;
        };
        assert!(text.starts_with(KNOWN), "{backend}: {text}");
    }
}

#[test]
fn stories_are_the_same_on_core_and_processor() {
    for options in [
        "--window 37 -n 90",
        "--window 37 --sinks 4 --temperature 0.8 --seed 12345678901 -n 90",
    ] {
        let Some(text) = stories("cpu", options) else {
            return;
        };
        assert_eq!(stories("sim", options), Some(text), "{options}");
    }
}

/// What is 4 bits wide changes the words, and no backend's alone.
fn are_the_same_and_not_those_of_8_bits(four: &str) {
    let (Some(text), Some(bytes)) = (
        stories("cpu", four),
        stories("cpu", &four.replace("-bits 4", "-bits 8")),
    ) else {
        return;
    };
    assert_eq!(stories("sim", four), Some(text.clone()), "{four}");
    assert_eq!(stories("reference", four), Some(text.clone()), "{four}");
    assert_ne!(text, bytes, "{four}");
}

#[test]
fn stories_of_4_bit_weights_are_the_same_on_core_and_processor() {
    are_the_same_and_not_those_of_8_bits(
        "--weight-bits 4 --window 37 --sinks 4 --temperature 0.8 -n 40",
    );
}

#[test]
fn stories_of_4_bit_values_are_the_same_on_core_and_processor() {
    let four = "--value-bits 4 --window 37 --sinks 4 --temperature 0.8 -n 60";
    are_the_same_and_not_those_of_8_bits(four);
    let both = format!("{four} --weight-bits 4 --lanes 128");
    assert_eq!(stories("sim", &both), stories("cpu", &both));
}

#[test]
fn narrow_values_are_the_same_everywhere() {
    let names = |backend: &str, bits: u8| {
        line(&format!(
            "generate --model names --value-bits {bits} --backend {backend} --temperature 1 -n 200"
        ))
        .ok()
    };
    assert_eq!(names("cpu", 4), names("reference", 4));
    assert_eq!(names("cpu", 4), names("sim", 4));
    assert_ne!(names("cpu", 4), names("cpu", 8));
    let shakespeare = "verify --model shakespeare --value-bits 4 --backends sim,cpu -n 300";
    let verdict = line(shakespeare).ok();
    assert!(verdict.contains("sim and cpu are equal"), "{verdict}");
}

#[test]
fn names_are_the_same_on_core_and_processor() {
    let names = |backend: &str, seed: u64| {
        line(&format!(
            "generate --model names --backend {backend} --temperature 0.8 --seed {seed} -n 200"
        ))
        .ok()
    };
    let text = names("cpu", 7);
    assert_eq!(names("sim", 7), text);
    assert_eq!(names("reference", 7), text);
    assert_ne!(names("cpu", 8), text);
    // Names restart: the text goes on, line after line.
    assert!(text.lines().count() > 10, "{text}");
    assert!(
        text.chars().all(|c| c == '\n' || c.is_ascii_lowercase()),
        "{text}"
    );
}

#[test]
fn cuts_are_the_same_on_core_and_processor() {
    let names = |backend: &str, cut: &str| {
        line(&format!(
            "generate --model names --backend {backend} --temperature 1 --seed 3 -n 100 {cut}"
        ))
        .ok()
    };
    for cut in ["--top-k 3", "--top-p 0.5", "--top-k 5 --top-p 0.8"] {
        let text = names("cpu", cut);
        assert_eq!(names("sim", cut), text, "{cut}");
        assert_ne!(names("cpu", ""), text, "{cut}");
    }
    // A cut that keeps everything leaves the core's own choice.
    assert_eq!(names("cpu", "--top-k 27"), names("sim", ""));
}

#[test]
fn n_counts_forward_passes() {
    let tokens = |options: &str| {
        let report = line(&format!("generate --model names --json {options}")).json();
        let count = |field: &str| report[field].as_array().expect("tokens").len();
        assert_eq!(report["forward_passes"], report["n"]);
        (
            count("prompt_tokens"),
            count("tokens"),
            report["text"].as_str().expect("text").to_owned(),
        )
    };
    // BOS and four letters: four silent passes, and one that chooses.
    let (prompt, chosen, text) = tokens("--prompt emma -n 5");
    assert_eq!((prompt, chosen), (5, 1));
    assert!(text.starts_with("emma"));
    // Fewer passes than prompt: what was processed is written, and nothing is chosen.
    assert_eq!(tokens("--prompt emma -n 3"), (5, 0, "em".into()));
    let short = line("generate --model names --prompt emma -n 3");
    let why = "-n 3 ends within the prompt of 5 tokens";
    assert!(short.err.contains(why), "{short:?}");
    let (prompt, chosen, _) = tokens("-n 1");
    assert_eq!((prompt, chosen), (1, 1));
}

#[test]
fn an_empty_prompt_is_the_start_of_a_stream_alone() {
    let words = [
        "generate", "--model", "names", "--json", "-n", "20", "--prompt", "",
    ];
    let empty = annulus(&words).json();
    assert_eq!(empty["prompt_tokens"].as_array().expect("tokens").len(), 1);
    assert_eq!(empty["tokens"], annulus(&words[..6]).json()["tokens"]);
}

#[test]
fn a_prompt_longer_than_the_window_streams_through_it() {
    let Some(_) = data("stories260K.bin") else {
        return;
    };
    let prompt = "Lily and Tim went to the park to play with the big red ball. ".repeat(4);
    let run = |backend: &str| {
        let args = [
            "generate",
            "--model",
            "stories260K",
            "--window",
            "24",
            "-n",
            "180",
            "--json",
            "--prompt",
            &prompt,
            "--backend",
            backend,
        ];
        annulus(&args).json()
    };
    let (cpu, sim) = (run("cpu"), run("sim"));
    assert!(cpu["prompt_tokens"].as_array().expect("tokens").len() > 2 * 24);
    assert!(cpu["text"].as_str().expect("text").starts_with(&prompt));
    assert_eq!(
        (&cpu["tokens"], &cpu["text"]),
        (&sim["tokens"], &sim["text"])
    );
    assert!(sim["prompt"]["cycles"].as_u64() > Some(0));
}

#[test]
fn a_story_ends_where_the_model_says_so() {
    let Some(_) = data("stories260K.bin") else {
        return;
    };
    let report = line(
        "generate --model stories260K --backend cpu --temperature 0.9 --seed 5 -n 5000 --json",
    )
    .json();
    let tokens = report["tokens"].as_array().expect("tokens");
    assert_eq!(report["stopped"], true);
    assert_eq!(
        tokens.iter().position(|t| t == 1),
        Some(tokens.len() - 1),
        "the end token comes last and once"
    );
    assert!(tokens.len() < 5000);
}

#[test]
fn rates_and_cycles_come_last() {
    let run = line("generate --model names --backend sim --prompt em -n 12");
    assert!(
        run.err.starts_with("annulus: sim: prompt 2 tokens at "),
        "{}",
        run.err
    );
    assert!(
        run.err.contains("; decode 10 tokens at ")
            && run.err.trim_end().ends_with(" cycles per token"),
        "{}",
        run.err
    );
    let run = line("generate --model names -n 12");
    assert!(
        run.err.starts_with("annulus: auto takes cpu: "),
        "{}",
        run.err
    );
}

#[test]
fn images_write_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("names.annulus");
    let image = image.to_str().expect("a path of text");
    line(&format!(
        "quantize --model names --lanes 16 --window 9 --sinks 2 --out {image}"
    ))
    .ok();
    let of = |model: &str, more: &str| {
        line(&format!(
            "generate --backend cpu --temperature 1 --seed 4 -n 150 --model {model} {more}"
        ))
        .ok()
    };
    assert_eq!(of(image, ""), of("names", "--window 9 --sinks 2"));
    // Another window, or other lanes: compiled anew.
    assert_eq!(
        of(image, "--window 16 --sinks 0 --lanes 64"),
        of("names", "")
    );
}

#[test]
fn a_reader_may_leave() {
    let mut child = command()
        .args(["generate", "--model", "names", "-n", "2000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut out = child.stdout.take().expect("a pipe");
    let mut first = [0; 4];
    out.read_exact(&mut first).expect("text");
    drop(out);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    let err = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(
        err.lines()
            .all(|line| line.starts_with("annulus: auto takes ")),
        "{err}"
    );
}

/// A stream has no end, so nothing may be kept of what is written. The kernel's count of a process's
/// memory is late by some pages a processor.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_text() {
    const SLACK_KIB: u64 = 2048;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut child = command()
        .args("generate --model names --backend cpu --temperature 0.8 -n 10000000".split(' '))
        .stdout(file.reopen().expect("it is there"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_after = |bytes| {
        while file.as_file().metadata().expect("a length").len() < bytes {
            assert_eq!(child.try_wait().expect("a child"), None, "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = std::fs::read_to_string(&status).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a peak")
    };
    let (early, late) = (peak_after(20_000), peak_after(1_000_000));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(
        late.saturating_sub(early) < SLACK_KIB,
        "{early} KiB after 20 thousand characters, {late} KiB after a million"
    );
}

#[test]
fn traces_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.vcd");
    let path = trace.to_str().expect("a path of text");
    line(&format!(
        "generate --model names --backend sim --lanes 16 -n 2 --trace {path}"
    ))
    .ok();
    let head = std::fs::read_to_string(&trace).expect("a trace");
    assert!(
        head.starts_with("$version") && head.contains("$enddefinitions"),
        "{}",
        &head[..200]
    );
}
