//! The commands of the guide, in the order in which it tells them.

use crate::run::{cache_without_models, command, data, ran, repository};
use crate::server::Server;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

#[test]
fn every_command_of_the_guide_works() {
    let guide = fs::read_to_string(repository().join("docs/guide.md")).expect("the guide");
    let commands: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert!(
        commands.len() >= 15 && commands.iter().all(|c| c.starts_with("annulus ")),
        "{commands:?}"
    );

    let stories = data("stories260K.bin")
        .and(data("tok512.bin"))
        .zip(data("tinystories-val.txt"));
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["bin", "cache"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    symlink(command().get_program(), folder.path().join("bin/annulus")).expect("a link");
    cache_without_models(&folder.path().join("cache"));
    let mut hub = None;
    if let Some((tokenizer, text)) = &stories {
        symlink(text, folder.path().join("stories.txt")).expect("a link");
        hub = tokenizer.parent().map(|data| Server::start(data.into()));
    }
    let address = hub
        .as_ref()
        .map_or("http://127.0.0.1:1", |hub| &hub.address);
    let path = format!(
        "{}:{}",
        folder.path().join("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );

    for line in commands {
        if stories.is_none() && line.contains("stories") {
            eprintln!("SKIPPED: {line}");
            continue;
        }
        let mut shell = Command::new("bash");
        shell
            .args(["-e", "-c", line])
            .current_dir(folder.path())
            .env("PATH", &path);
        shell
            .env("ANNULUS_HUB", address)
            .env("ANNULUS_CACHE", folder.path().join("cache"));
        shell
            .env_remove("ANNULUS_DATA")
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy");
        let run = ran(&mut shell);
        assert_eq!(run.status, 0, "{line}: {}", run.err);
    }
}
