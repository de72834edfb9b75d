//! Downloads: whole, resumed, damaged, broken off, refused.

use crate::run::{command, data, ran, Ran};
use crate::server::{Manner, Server};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A hub with the real files, and an empty cache; `None` where the files are missing.
fn hub() -> Option<(Server, tempfile::TempDir)> {
    let folder = data("stories260K.bin")?.parent()?.to_owned();
    data("tok512.bin")?;
    Some((
        Server::start(folder),
        tempfile::tempdir().expect("a folder"),
    ))
}

fn with(server: &Server, cache: &Path, words: &[&str]) -> Command {
    let mut command = command();
    command
        .env("ANNULUS_HUB", &server.address)
        .env("ANNULUS_CACHE", cache)
        .env_remove("ANNULUS_DATA")
        .args(words);
    command
}

fn fetch(server: &Server, cache: &Path) -> Ran {
    ran(&mut with(
        server,
        cache,
        &["fetch", "stories260K", "--json"],
    ))
}

fn sha256(path: &Path) -> String {
    format!("{:x}", Sha256::digest(fs::read(path).expect("a file")))
}

#[test]
fn downloads_whole_and_once() {
    let Some((server, cache)) = hub() else { return };
    let report = fetch(&server, cache.path()).json();
    let files = report["files"].as_array().expect("files");
    assert_eq!(files.len(), 2);
    for file in files {
        let path = Path::new(file["path"].as_str().expect("a path"));
        assert!(
            path.starts_with(cache.path().join("models/stories260K")),
            "{file}"
        );
        assert_eq!(
            (&file["downloaded"], file["sha256"].as_str()),
            (&file["size"], Some(sha256(path).as_str()))
        );
    }
    let paths: Vec<String> = server
        .requests()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        paths,
        ["stories260K.bin", "tok512.bin"]
            .map(|f| format!("/karpathy/tinyllamas/resolve/main/stories260K/{f}"))
    );
    // A second time nothing is asked for, and the name now stands for the model.
    let report = fetch(&server, cache.path()).json();
    assert_eq!(report["files"][0]["downloaded"], 0);
    assert_eq!(server.requests(), []);
    let text = ran(&mut with(
        &server,
        cache.path(),
        &["generate", "--model", "stories260K", "-n", "20"],
    ))
    .ok();
    assert!(text.starts_with("Once upon a time, there was"), "{text}");
    // A file that was damaged since is fetched again.
    fs::write(cache.path().join("models/stories260K/tok512.bin"), "?").expect("a file");
    assert_eq!(
        fetch(&server, cache.path()).json()["files"][1]["downloaded"],
        6227
    );
}

#[test]
fn goes_on_where_it_stopped() {
    let Some((server, cache)) = hub() else { return };
    server.set(Manner::Breaks);
    let run = fetch(&server, cache.path());
    let sentence = run.sentence();
    assert!(
        sentence.contains("stories260K.bin") && sentence.contains("run the command again"),
        "{sentence}"
    );
    let part = cache.path().join("models/stories260K/stories260K.bin.part");
    let there = fs::metadata(&part).expect("what came is kept").len();
    assert_eq!(there, 1_056_540 / 2);
    assert_eq!(server.requests().len(), 1);

    server.set(Manner::Good);
    let report = fetch(&server, cache.path()).json();
    assert_eq!(report["files"][0]["downloaded"], 1_056_540 - there);
    assert_eq!(
        server.requests()[0].1,
        Some(there),
        "the rest was asked for"
    );
    assert!(!part.exists());

    // A server without ranges sends all of it again.
    fs::remove_file(cache.path().join("models/stories260K/stories260K.bin")).expect("it is there");
    fs::write(&part, [0; 1000]).expect("a file");
    server.set(Manner::NoRanges);
    assert_eq!(
        fetch(&server, cache.path()).json()["files"][0]["downloaded"],
        1_056_540
    );
}

#[test]
fn keeps_nothing_that_is_damaged() {
    let Some((server, cache)) = hub() else { return };
    server.set(Manner::Flips);
    let run = fetch(&server, cache.path());
    assert!(
        run.sentence().contains("checksum") && run.sentence().contains("nothing was kept"),
        "{run:?}"
    );
    let kept = fs::read_dir(cache.path().join("models/stories260K"))
        .expect("a folder")
        .count();
    assert_eq!(kept, 0);
    // So is the beginning of another file.
    let part = cache.path().join("models/stories260K/stories260K.bin.part");
    fs::write(&part, [0; 1000]).expect("a file");
    server.set(Manner::Good);
    assert!(fetch(&server, cache.path()).sentence().contains("checksum"));
    fetch(&server, cache.path()).json();
}

#[test]
fn says_what_the_server_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path().into());
    for status in [404, 500, 503] {
        server.set(Manner::Status(status));
        let run = fetch(&server, folder.path());
        assert!(
            run.sentence()
                .contains(&format!("the server answers {status}")),
            "{run:?}"
        );
    }
    let run = ran(command()
        .env("ANNULUS_HUB", "http://127.0.0.1:1")
        .env("ANNULUS_CACHE", folder.path())
        .args(["fetch", "stories260K"]));
    assert!(
        run.sentence()
            .starts_with("cannot fetch http://127.0.0.1:1/karpathy/"),
        "{run:?}"
    );
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let run =
        ran(with(&server, &file, &["fetch", "stories260K"]).stdin(std::process::Stdio::null()));
    assert!(run.sentence().contains("cannot write"), "{run:?}");
}

#[test]
fn a_text_is_evaluated_by_its_name() {
    let Some(text) = data("tinyshakespeare.txt") else {
        return;
    };
    // There it is called otherwise.
    let there = tempfile::tempdir().expect("a folder");
    fs::copy(&text, there.path().join("input.txt")).expect("a copy");
    let (server, cache) = (
        Server::start(there.path().into()),
        tempfile::tempdir().expect("a folder"),
    );
    let words = ["fetch", "tinyshakespeare", "--json"];
    let report = ran(&mut with(&server, cache.path(), &words)).json();
    assert_eq!(report["files"][0]["downloaded"], 1_115_394);
    assert_eq!(
        server.requests()[0].0,
        "/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    );
    let words = "eval --model shakespeare --text tinyshakespeare --last 10% --tokens 2000 --json";
    let words: Vec<&str> = words.split(' ').collect();
    let report = ran(&mut with(&server, cache.path(), &words)).json();
    assert_eq!(
        (&report["tokens"], &report["window"]),
        (&2000.into(), &128.into())
    );
    let difference = report["loss"].as_f64().unwrap() - report["loss_f32"].as_f64().unwrap();
    assert!(difference.abs() < 0.01, "{report}");
}
