//! Standard output, progress bars, and what a command fails with.

pub use annulus_runtime::number::grouped;

use annulus_runtime::backend::BackendError;
use annulus_runtime::flash::FlashError;
use annulus_runtime::generate::GenerateError;
use annulus_runtime::serial::SerialError;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

/// Exit status where a device was asked for that is not on this machine.
pub const ABSENT: u8 = 3;

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something went wrong; in its own words.
    #[error(transparent)]
    Error(Box<dyn Error>),
    /// The command did its work, and the answer is no.
    #[error("{0}")]
    Verdict(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Nobody reads standard output any more.
    #[error("nobody reads standard output")]
    BrokenPipe,
}

impl Failure {
    /// For `map_err`: any error in its own words.
    pub fn new(error: impl Error + 'static) -> Self {
        Failure::Error(Box::new(error))
    }

    /// The exit status: 1, [`ABSENT`] without the GPU that was asked for, or for a board what `sysexits.h` calls it.
    pub fn code(&self) -> u8 {
        let Failure::Error(error) = self else {
            return 1;
        };
        let backend = match error.downcast_ref() {
            Some(GenerateError::Backend(error)) => Some(error),
            _ => error.downcast_ref(),
        };
        if backend.is_some_and(BackendError::is_absence) {
            return ABSENT;
        }
        let serial = match backend {
            Some(BackendError::Serial(error)) => Some(error),
            _ => match error.downcast_ref() {
                Some(FlashError::Serial(error) | FlashError::NotBack { why: error, .. }) => {
                    Some(error)
                }
                _ => error.downcast_ref(),
            },
        };
        match serial {
            // EX_NOPERM, EX_UNAVAILABLE, EX_IOERR, EX_PROTOCOL
            Some(SerialError::Permission(_)) => 77,
            Some(
                SerialError::NoPort(_)
                | SerialError::InUse(_)
                | SerialError::Open { .. }
                | SerialError::NoBoard
                | SerialError::NoUartBoard(_)
                | SerialError::Several(_),
            ) => 69,
            Some(SerialError::Gone { .. } | SerialError::NoAnswer(_)) => 74,
            Some(
                SerialError::Silent(_)
                | SerialError::Stranger(_)
                | SerialError::Version { .. }
                | SerialError::Unexpected(_),
            ) => 76,
            Some(SerialError::Fault { .. }) | None => 1,
        }
    }

    /// For `map_err`: an error of standard output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Output(error),
        }
    }
}

/// What a command gives.
pub type Outcome = Result<(), Failure>;

/// Say something on standard error. Nobody has to listen.
pub fn say(what: &impl Display) {
    let _ = writeln!(io::stderr(), "annulus: {what}");
}

/// Write text, and see to it that it shows at once.
pub fn write(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

/// Write a value as one JSON object.
pub fn write_json(value: &impl Serialize) -> Outcome {
    let json = serde_json::to_string_pretty(value).map_err(Failure::new)?;
    write(&(json + "\n"))
}

/// A bar on the terminal that counts `what`; nothing shows where there is none.
pub fn bar(what: &str, all: usize) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}} of {{len}} {what}, {{eta}} to go");
    styled(ProgressBar::new(all as u64), &template)
}

/// What is being done, for work that cannot be counted.
pub fn spinner() -> ProgressBar {
    styled(ProgressBar::new_spinner(), "{spinner} {msg}")
}

/// A bar that counts the bytes of a download.
pub fn bytes_bar() -> ProgressBar {
    styled(
        ProgressBar::new(0),
        "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}",
    )
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
