//! `annulus twin`.

use crate::args::TwinArgs;
use crate::output::{self, Failure, Outcome};
use annulus_runtime::backend::twin;
use annulus_runtime::serial::UartBoard;

pub fn run(args: &TwinArgs) -> Outcome {
    if let Some(board) = UartBoard::named(&args.board) {
        let twin = twin::start_uart(board).map_err(Failure::new)?;
        output::write(&format!("{}\n", twin.port().display()))?;
        twin.wait();
        return Ok(());
    }
    let twin = twin::start(args.firmware.as_deref()).map_err(Failure::new)?;
    output::write(&format!("{}\n", twin.port().display()))?;
    Err(Failure::new(twin.wait()))
}
