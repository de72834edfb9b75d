//! A list of pins: which port of the top goes to which pin of the package.

use std::collections::BTreeMap;

/// Why a list of pins is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// A line of another form.
    #[error("`{line}` is not a pin: a line is `{form}`")]
    Line {
        /// What stands there.
        line: String,
        /// What should.
        form: &'static str,
    },
    /// A port has two pins.
    #[error("the list of pins names port {0} twice")]
    PortTwice(String),
    /// A pin has two ports.
    #[error("pin {pin} is given to two ports, {} and {}", ports[0], ports[1])]
    PinTwice {
        /// The pin.
        pin: String,
        /// Who wants it.
        ports: [String; 2],
    },
}

/// How a list is written: as nextpnr reads it for the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// iCE40: lines `set_io PORT PIN`.
    Pcf,
    /// ECP5: lines `LOCATE COMP "PORT" SITE "PIN";`, and `IOBUF PORT "PORT" ...;` for what
    /// the pin is like.
    Lpf,
    /// Gowin: lines `IO_LOC "PORT" PIN;`, and `IO_PORT "PORT" ...;` for what the pin is like.
    Cst,
}

impl Format {
    /// Name of the file.
    pub const fn file(self) -> &'static str {
        match self {
            Format::Pcf => "pins.pcf",
            Format::Lpf => "pins.lpf",
            Format::Cst => "pins.cst",
        }
    }

    /// What begins a comment.
    const fn comment(self) -> &'static str {
        match self {
            Format::Pcf | Format::Lpf => "#",
            Format::Cst => "//",
        }
    }

    /// What a line looks like.
    const fn form(self) -> &'static str {
        match self {
            Format::Pcf => "set_io PORT PIN",
            Format::Lpf => "LOCATE COMP \"PORT\" SITE \"PIN\";",
            Format::Cst => "IO_LOC \"PORT\" PIN;",
        }
    }

    /// The port and the pin of a line; `None` for a line about something else.
    fn line(self, code: &str) -> Result<Option<(&str, &str)>, PinsError> {
        let wrong = || PinsError::Line {
            line: code.into(),
            form: self.form(),
        };
        match self {
            Format::Pcf => match code.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["set_io", port, pin] => Ok(Some((port, pin))),
                _ => Err(wrong()),
            },
            Format::Lpf => {
                let statement = code.strip_suffix(';').ok_or_else(wrong)?;
                match statement.split_whitespace().collect::<Vec<_>>().as_slice() {
                    ["LOCATE", "COMP", port, "SITE", pin] => {
                        Ok(Some((port.trim_matches('"'), pin.trim_matches('"'))))
                    }
                    ["IOBUF", "PORT", _, _, ..] => Ok(None),
                    _ => Err(wrong()),
                }
            }
            Format::Cst => {
                let statement = code.strip_suffix(';').ok_or_else(wrong)?;
                match statement.split_whitespace().collect::<Vec<_>>().as_slice() {
                    ["IO_LOC", port, pin] => Ok(Some((port.trim_matches('"'), pin))),
                    ["IO_PORT", _, _, ..] => Ok(None),
                    _ => Err(wrong()),
                }
            }
        }
    }
}

/// Ports and their pins, without comments.
///
/// # Errors
/// A line that is none, a port or a pin that stands twice.
pub fn parse(format: Format, text: &str) -> Result<BTreeMap<String, String>, PinsError> {
    let mut pins = BTreeMap::new();
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let code = line.split(format.comment()).next().unwrap_or("").trim();
        if code.is_empty() {
            continue;
        }
        let Some((port, pin)) = format.line(code)? else {
            continue;
        };
        if pins.insert(port.to_owned(), pin.to_owned()).is_some() {
            return Err(PinsError::PortTwice(port.into()));
        }
        if let Some(other) = ports.insert(pin.into(), port.into()) {
            return Err(PinsError::PinTwice {
                pin: pin.into(),
                ports: [other, port.into()],
            });
        }
    }
    Ok(pins)
}
