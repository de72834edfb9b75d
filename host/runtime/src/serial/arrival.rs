//! Waiting for a board that starts.

use super::{boards, open, Client, PortLine, SerialError};
use std::time::{Duration, Instant};

/// How often it is looked for.
const EVERY: Duration = Duration::from_millis(250);

/// Greets the board that starts on `port`; without one, the only one that is plugged in and was not
/// there before, on one of `others`. `waiting` hears now and then how long it has been waited.
///
/// # Errors
/// After `patience`, and a greeting that nobody has answered, why there is no board; at once, if it
/// speaks another version of the protocol.
pub fn await_board(
    port: Option<&str>,
    others: &[String],
    patience: Duration,
    mut waiting: impl FnMut(Duration),
) -> Result<Client<PortLine>, SerialError> {
    let start = Instant::now();
    loop {
        // A port that has just appeared may not be this user's yet, and its board not listen.
        let why = match greeted(port, others) {
            Ok(client) => return Ok(client),
            Err(why @ SerialError::Version { .. }) => return Err(why),
            Err(why) => why,
        };
        if start.elapsed() >= patience {
            return Err(why);
        }
        waiting(start.elapsed());
        std::thread::sleep(EVERY);
    }
}

fn greeted(port: Option<&str>, others: &[String]) -> Result<Client<PortLine>, SerialError> {
    let port = match port {
        Some(port) => port.to_owned(),
        None => {
            let fresh = boards().into_iter().filter(|port| !others.contains(port));
            super::devices::only(fresh.collect())?
        }
    };
    Client::new(open(&port)?, &port)
}
