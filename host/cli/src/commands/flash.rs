//! `annulus flash`.

use crate::args::FlashArgs;
use crate::output::{self, bytes_bar, grouped, spinner, Failure, Outcome};
use annulus_runtime::flash::drive::{self, Firmware};
use annulus_runtime::flash::provision::{provision, Event, Provision, Standalone};
use annulus_runtime::flash::uf2::Family;
use annulus_runtime::flash::{self, FlashError};
use annulus_runtime::serial::{
    self, await_board, Client, Object, Place, PortLine, Reboot, Request, SerialError, UartBoard,
    VERSION,
};
use annulus_runtime::CoreShape;
use indicatif::ProgressBar;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn run(args: &FlashArgs) -> Outcome {
    if args.firmware.is_none() && args.bitstream.is_none() && args.model.is_none() && !args.erase {
        return Err(Failure::Verdict(
            "nothing to flash: give --firmware, --bitstream, --model with --store, or --erase"
                .into(),
        ));
    }
    if let Some(path) = &args.firmware {
        firmware(args, path)?;
    }
    if let Some(board) = args.board.as_deref().and_then(UartBoard::named) {
        return match (&args.bitstream, &args.model) {
            (_, Some(_)) => Err(Failure::Verdict(format!(
                "a {} keeps no images: it has no microcontroller that could load them",
                board.title
            ))),
            (Some(path), None) => {
                let programmer = OsStr::new("openFPGALoader");
                flash::with_programmer(board, path, args.store, programmer)
                    .map_err(Failure::new)?;
                look_at_uart(board, args, path)
            }
            (None, None) => Ok(()),
        };
    }
    if args.bitstream.is_some() || args.model.is_some() || args.erase {
        over_the_wire(args)?;
    }
    Ok(())
}

/// Firmware to a drive or a file. A board that is plugged in is asked to become a drive.
fn firmware(args: &FlashArgs, path: &Path) -> Outcome {
    let family = match args.mcu.as_str() {
        "rp2350" => Family::Rp2350,
        _ => Family::Rp2040,
    };
    let firmware = drive::firmware(path, family).map_err(Failure::new)?;
    if let Some(probe) = &args.probe {
        through_probe(&firmware, probe)?;
        return look_at_board(args, &[]);
    }
    let to = match &args.to {
        Some(to) => to.clone(),
        None => boot_drive(args)?,
    };
    let others = serial::boards();
    let written = drive::write(&firmware, &to).map_err(Failure::new)?;
    report(&firmware, &written)?;
    if to.is_file() {
        return Ok(());
    }
    look_at_board(args, &others)
}

/// Waits for the board whose microcontroller has just been programmed, and says what answers.
/// `others` are the ports of boards that it is not.
fn look_at_board(args: &FlashArgs, others: &[String]) -> Outcome {
    if args.wait == 0 {
        return Ok(());
    }
    output::say(&"the board starts with its new firmware");
    let spinner = spinner();
    let patience = Duration::from_secs(args.wait);
    let port = args.port.port.as_deref();
    let client = await_board(port, others, patience, |waited| {
        spinner.set_message(format!(
            "waiting for the board, {} of {} s",
            waited.as_secs(),
            args.wait
        ));
        spinner.tick();
    });
    spinner.finish_and_clear();
    let client = client.map_err(|why| match why {
        why @ SerialError::Version { .. } => Failure::new(why),
        why => Failure::new(FlashError::NotBack {
            seconds: args.wait,
            why,
        }),
    })?;
    let greeting = client.greeting();
    let own = env!("CARGO_PKG_VERSION");
    let same = if greeting.firmware == own {
        String::new()
    } else {
        format!(" (this program's own is {own})")
    };
    output::write(&format!(
        "{} on {}: firmware {}{same} answers, version {VERSION} of the protocol\n",
        greeting.board,
        client.port(),
        greeting.firmware,
    ))?;
    if let Some(died) = &greeting.died {
        output::say(&format_args!("its firmware has died before: {died}"));
    }
    Ok(())
}

/// Firmware through a debug probe; an empty name is the only one that is plugged in.
#[cfg(feature = "probe")]
fn through_probe(firmware: &Firmware, name: &str) -> Outcome {
    use annulus_runtime::flash::probe::{open, program, Chip, Lister};
    use annulus_runtime::flash::uf2;
    let chip = match firmware.family {
        Family::Rp2040 => Chip::Rp2040,
        Family::Rp2350 => Chip::Rp2350,
    };
    let name = Some(name).filter(|name| !name.is_empty());
    let probe = open(&Lister::new(), name).map_err(Failure::new)?;
    let bar = bytes_bar();
    bar.set_message("programming");
    let pieces = uf2::contents(&firmware.blocks);
    let done = program(probe, chip, pieces, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    done.map_err(Failure::new)?;
    let family = firmware.family.name();
    output::write(&format!(
        "the {family} is programmed, reads back right, and runs\n"
    ))
}

#[cfg(not(feature = "probe"))]
fn through_probe(_: &Firmware, _: &str) -> Outcome {
    Err(Failure::Verdict(
        "this annulus was built without debug probes: build it with `cargo build --release --package annulus --features probe`, or leave --probe out and use the boot drive".into(),
    ))
}

fn report(firmware: &Firmware, written: &Path) -> Outcome {
    let blocks = firmware.blocks.len() / flash::uf2::BLOCK;
    output::write(&format!(
        "{}: {} KiB for the {}\n",
        written.display(),
        blocks.div_ceil(4),
        firmware.family.name()
    ))
}

fn boot_drive(args: &FlashArgs) -> Result<PathBuf, Failure> {
    match drive::find() {
        Err(FlashError::NoDrive) => {}
        found => return found.map_err(Failure::new),
    }
    let Some(mut board) = plugged_in(args)? else {
        return Err(Failure::new(FlashError::NoDrive));
    };
    board
        .order(&Request::Reboot(Reboot::BootLoader))
        .map_err(Failure::new)?;
    drop(board);
    drive::appears().map_err(Failure::new)
}

/// The board, if there is one that may be spoken to.
fn plugged_in(args: &FlashArgs) -> Result<Option<Client<PortLine>>, Failure> {
    match connect(args) {
        Ok(client) => Ok(Some(client)),
        Err(SerialError::NoBoard) => Ok(None),
        Err(error) => Err(Failure::new(error)),
    }
}

fn connect(args: &FlashArgs) -> Result<Client<PortLine>, SerialError> {
    let port = match &args.port.port {
        Some(port) => port.clone(),
        None => serial::board()?,
    };
    Client::new(serial::open(&port)?, &port)
}

/// Bitstream and image over the board's own firmware.
fn over_the_wire(args: &FlashArgs) -> Outcome {
    let mut client = connect(args).map_err(Failure::new)?;
    if let Some(fault) = client.greeting().stayed {
        output::say(&format_args!(
            "the board has not begun to write by itself: {fault}"
        ));
    }
    let what = Provision {
        board: args.board.as_deref(),
        erase: args.erase,
        bitstream: args.bitstream.as_deref(),
        store: args.store,
        model: args.model.as_ref().map(|model| Standalone {
            model,
            window: args.window,
            prompt: args.stream.prompt.as_encoded_bytes(),
            sampling: args.stream.sampling(),
        }),
    };
    let whose = format!("{} on {}", client.greeting().board, client.port());
    let mut bar = None;
    let mut written = Ok(());
    let done = provision(&mut client, &what, &mut |event| {
        if written.is_ok() {
            written = told(&event, &mut bar, &whose, args.bitstream.as_deref());
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done.map_err(Failure::new)?;
    written
}

/// Says what has been done, an upload by a bar of its own.
fn told(
    event: &Event,
    bar: &mut Option<ProgressBar>,
    whose: &str,
    bitstream: Option<&Path>,
) -> Outcome {
    let sentence = match event {
        Event::Upload {
            object,
            place,
            have,
            all,
        } => {
            let bar = bar.get_or_insert_with(bytes_bar);
            bar.set_message(match (object, place) {
                (Object::Bitstream, Place::Live) => "configuring",
                (Object::Image, Place::Live) => "loading",
                (_, Place::Stored) | (Object::Script, _) => "storing",
            });
            bar.set_length(*all as u64);
            bar.set_position(*have as u64);
            return Ok(());
        }
        Event::Erased => "the board's flash keeps nothing any more\n".into(),
        Event::Configured(core) => configured(whose, bitstream.unwrap_or(Path::new("")), core),
        Event::BitstreamStored => "the bitstream is stored and reads back as it was sent\n".into(),
        Event::ModelStored(name) => format!("{name}: passed the self-test, and is stored\n"),
        Event::NoBitstream => "no bitstream is stored: store one (--bitstream FILE --store) for the board to write by itself\n".into(),
        Event::Restarted => "the board starts anew and writes by itself, to its display and its serial port\n".into(),
    };
    if let Some(bar) = bar.take() {
        bar.finish_and_clear();
    }
    output::write(&sentence)
}

/// Says which core a bitstream has brought.
fn configured(whose: &str, path: &Path, core: &CoreShape) -> String {
    format!(
        "{whose}: configured with {}, a core of {} lanes and {} KiB answers\n",
        path.display(),
        core.lanes(),
        grouped(core.memory_bytes() as f64 / 1024.0)
    )
}

/// Asks the core of a board that has just been programmed, if the programmer has given its serial
/// port back.
fn look_at_uart(board: &UartBoard, args: &FlashArgs, path: &Path) -> Outcome {
    let client = match board.client(args.port.port.as_deref()) {
        Ok(client) => client,
        Err(SerialError::NoUartBoard(title)) => return output::write(&format!(
            "programmed; no serial port of a {title} is there to ask which core answers (`annulus selftest --model names --backend serial --board {}`)\n",
            board.name
        )),
        Err(error) => return Err(Failure::new(error)),
    };
    let greeting = client.greeting();
    let core = greeting.shape().map_err(|fault| {
        Failure::new(FlashError::NoCore {
            path: path.into(),
            fault,
        })
    })?;
    let whose = format!("{} on {}", greeting.board, client.port());
    output::write(&configured(&whose, path, &core))
}
