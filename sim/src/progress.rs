//! A build's progress, on the terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::verilated::Progress;

/// For [`Build::build`](crate::verilated::Build::build): one line on standard error that says what
/// is being done, gone when the build is. Nothing shows where that is no terminal, nor for a
/// design from the cache.
pub fn on_terminal(name: &str) -> impl FnMut(Progress) {
    let name = name.to_owned();
    let mut bar: Option<ProgressBar> = None;
    move |progress| {
        let bar = bar.get_or_insert_with(spinner);
        bar.set_message(match progress {
            Progress::Waiting => format!("{name}: another process is building it"),
            Progress::Verilating => format!("{name}: Verilog to C++"),
            Progress::Compiling { done, total } => {
                format!("{name}: compiling C++, {done} of {total}")
            }
            Progress::Linking => format!("{name}: linking"),
        });
    }
}

/// A line that shows time passing, and is wiped when dropped.
fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    let bar = ProgressBar::new_spinner();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
