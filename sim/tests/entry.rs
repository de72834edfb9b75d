//! `./x` at its edges: what it says and how it leaves when it may not install anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `./x` on a machine made of stand-ins: no package is installed, `apt-get` writes down its
/// arguments, and `id` says who runs it.
fn x(arguments: &[&str], user: u32, sudo_works: bool) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let log = dir.path().join("apt.log");
    let program = |name: &str, body: String| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("dpkg", "exit 1".into());
    program("id", format!("echo {user}"));
    program("apt-get", format!("echo \"$@\" >> {}", log.display()));
    // `sudo -n true` asks whether it would work without a question.
    let sudo = if sudo_works {
        "[ \"$1\" = -n ] || \"$@\""
    } else {
        "exit 1"
    };
    program("sudo", sudo.into());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../x");
    fs::copy(script, dir.path().join("x")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(dir.path().join("x"));
    command
        .args(arguments)
        .env("PATH", path)
        .env_remove("CI")
        .stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    (output, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn without_a_terminal_the_line_is_printed_and_nothing_is_installed() {
    for user in [0, 1000] {
        let (output, installed) = x(&["tools", "trace"], user, true);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("install -y --no-install-recommends liblz4-dev zlib1g-dev"),
            "{said}"
        );
        assert_eq!(said.contains("sudo sh -c"), user != 0, "{said}");
        assert_eq!(installed, "");
    }
}

#[test]
fn yes_installs_where_that_is_allowed() {
    for (user, sudo) in [(0, false), (1000, true)] {
        let (output, installed) = x(&["tools", "trace", "--yes"], user, sudo);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines: Vec<_> = installed.lines().collect();
        assert_eq!(lines.len(), 2, "{installed}");
        assert!(
            lines[0].contains("update") && lines[1].ends_with("liblz4-dev zlib1g-dev"),
            "{installed}"
        );
    }
    let (output, installed) = x(&["tools", "trace", "--yes"], 1000, false);
    assert_eq!((output.status.code(), installed.as_str()), (Some(3), ""));
}

#[test]
fn an_unknown_command_is_refused() {
    let (output, _) = x(&["nonsense"], 0, false);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no command nonsense"));
}
