//! `annulus flash`.

use crate::args::FlashArgs;
use crate::output::{self, bytes_bar, grouped, Failure, Outcome};
use annulus_runtime::flash::drive::{self, Firmware};
use annulus_runtime::flash::uf2::Family;
use annulus_runtime::flash::{self, FlashError};
use annulus_runtime::script::script;
use annulus_runtime::serial::{
    self, Client, Greeting, Object, Place, PortLine, Reboot, Request, SerialError, ULX3S,
};
use annulus_runtime::{models, Rotation};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a microcontroller may take to come back as a drive.
const RESTART: Duration = Duration::from_secs(15);

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
    if args.board.as_deref() == Some(ULX3S) {
        return match (&args.bitstream, &args.model) {
            (_, Some(_)) => Err(Failure::Verdict(
                "a ULX3S keeps no images: it has no microcontroller that could load them".into(),
            )),
            (Some(path), None) => {
                let programmer = OsStr::new("openFPGALoader");
                flash::ulx3s(path, args.store, programmer).map_err(Failure::new)?;
                look_at_ulx3s(args, path)
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
        return through_probe(&firmware, probe);
    }
    let to = match &args.to {
        Some(to) => to.clone(),
        None => boot_drive(args)?,
    };
    let written = drive::write(&firmware, &to).map_err(Failure::new)?;
    report(&firmware, &written)
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
    let asked = Instant::now();
    loop {
        match drive::find() {
            Err(FlashError::NoDrive) if asked.elapsed() < RESTART => {
                std::thread::sleep(Duration::from_millis(200));
            }
            found => return found.map_err(Failure::new),
        }
    }
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
    let greeting = client.greeting().clone();
    if let Some(board) = args
        .board
        .as_ref()
        .filter(|board| **board != greeting.board)
    {
        return Err(Failure::Verdict(format!(
            "the board on {} is a {}, not a {board}",
            client.port(),
            greeting.board
        )));
    }
    if let Some(fault) = greeting.stayed {
        output::say(&format_args!(
            "the board has not begun to write by itself: {fault}"
        ));
    }
    if args.erase {
        for object in [Object::Bitstream, Object::Image, Object::Script] {
            client
                .order(&Request::Erase(object))
                .map_err(Failure::new)?;
        }
        output::write("the board's flash keeps nothing any more\n")?;
    }
    if let Some(path) = &args.bitstream {
        let bytes = flash::bitstream_for(path, &greeting.part).map_err(Failure::new)?;
        upload(&mut client, Object::Bitstream, Place::Live, &bytes)?;
        let greeting = client.greet().map_err(Failure::new)?.clone();
        configured(&greeting, client.port(), path)?;
        if args.store {
            upload(&mut client, Object::Bitstream, Place::Stored, &bytes)?;
            output::write("the bitstream is stored and reads back as it was sent\n")?;
        }
    }
    if let Some(model) = &args.model {
        let shape = client.greeting().shape();
        let shape = shape.map_err(|fault| Failure::Verdict(fault.to_string()))?;
        let mut opened = models::open(model, None, Rotation::Hadamard).map_err(Failure::new)?;
        opened.suit(&shape).map_err(Failure::new)?;
        let image = opened
            .image(&shape, args.window, None)
            .map_err(Failure::new)?;
        let prompt = args.stream.prompt.as_encoded_bytes();
        let script = script(&image, prompt, &args.stream.sampling()).map_err(Failure::new)?;
        let bytes = image.to_bytes();
        upload(&mut client, Object::Image, Place::Live, &bytes)?;
        client.order(&Request::SelfTest).map_err(Failure::new)?;
        upload(&mut client, Object::Image, Place::Stored, &bytes)?;
        upload(&mut client, Object::Script, Place::Stored, &script)?;
        output::write(&format!(
            "{}: passed the self-test, and is stored\n",
            image.name
        ))?;
        write_alone(&mut client)?;
    }
    Ok(())
}

/// Says which core a bitstream has brought.
fn configured(greeting: &Greeting, port: &str, path: &Path) -> Outcome {
    let shape = greeting.shape().map_err(|fault| {
        Failure::Verdict(format!("the FPGA took {}, but {fault}", path.display()))
    })?;
    output::write(&format!(
        "{} on {port}: configured with {}, a core of {} lanes and {} KiB answers\n",
        greeting.board,
        path.display(),
        shape.lanes(),
        grouped(shape.memory_bytes() as f64 / 1024.0)
    ))
}

/// Asks the core of a ULX3S that has just been programmed, if the programmer has given its serial
/// port back.
fn look_at_ulx3s(args: &FlashArgs, path: &Path) -> Outcome {
    match serial::ulx3s(args.port.port.as_deref()) {
        Ok(client) => configured(client.greeting(), client.port(), path),
        Err(SerialError::NoUlx3s) => output::write(
            "programmed; no serial port of a ULX3S is there to ask which core answers (`annulus selftest --model names --backend serial --board ulx3s`)\n",
        ),
        Err(error) => Err(Failure::new(error)),
    }
}

/// Starts the board anew, so that it does what it will do whenever it is switched on.
fn write_alone(client: &mut Client<PortLine>) -> Outcome {
    let greeting = client.greet().map_err(Failure::new)?;
    if greeting.stored_bitstream.is_none() {
        return output::write(
            "no bitstream is stored: store one (--bitstream FILE --store) for the board to write by itself\n",
        );
    }
    client
        .order(&Request::Reboot(Reboot::Firmware))
        .map_err(Failure::new)?;
    output::write(
        "the board starts anew and writes by itself, to its display and its serial port\n",
    )
}

fn upload(client: &mut Client<PortLine>, object: Object, place: Place, bytes: &[u8]) -> Outcome {
    let bar = bytes_bar();
    bar.set_message(match (object, place) {
        (Object::Bitstream, Place::Live) => "configuring",
        (Object::Image, Place::Live) => "loading",
        (_, Place::Stored) | (Object::Script, _) => "storing",
    });
    bar.set_length(bytes.len() as u64);
    let done = client.upload(object, place, bytes, |have| bar.set_position(have as u64));
    bar.finish_and_clear();
    done.map_err(Failure::new)
}
