//! What a bitstream is for, and whether it is whole.
//!
//! *iCE40*: see [`annulus_contract::ice40`].
//!
//! *ECP5*: comments (`Part: LFE5U-85F-6CABGA381`), a preamble, then commands of four bytes, one
//! of which makes the FPGA compare its IDCODE, and the last of which says that it is done.
//!
//! *Gowin*: see [`gowin`].

mod gowin;

use annulus_contract::ice40::{self, crc16, Bank, CRC_RESET};
use nom::bytes::complete::{tag, take, take_until};
use nom::number::complete::{be_u16, be_u32, u8};
use nom::{IResult, Parser};

/// Why bytes are not a bitstream that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitstreamError {
    /// No preamble is in it.
    #[error("this is no bitstream for an iCE40, an ECP5 or a Gowin FPGA: it has none of their preambles")]
    Unknown,
    /// It ends too early.
    #[error("the bitstream is truncated: copy or build it again")]
    Truncated,
    /// A checksum is wrong, or missing.
    #[error("the bitstream is damaged: its checksum is wrong; build it again")]
    Checksum,
    /// A command that is none.
    #[error("the bitstream is damaged: {0:#04x} is no command; build it again")]
    Command(u8),
    /// Sizes or an IDCODE that no known part has.
    #[error("the bitstream is for a part that this program does not know")]
    Part,
    /// Comment and IDCODE name different parts.
    #[error(
        "the bitstream names one part in its comment and another in its IDCODE: build it again"
    )]
    Contradiction,
}

/// A bitstream, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitstream {
    part: &'static str,
}

const ECP5: &[u8] = &[0xff, 0xff, 0xbd, 0xb3];

/// IDCODEs.
const ECP5_PARTS: [(u32, &str); 10] = [
    (0x2111_1043, "LFE5U-12F"),
    (0x4111_1043, "LFE5U-25F"),
    (0x4111_2043, "LFE5U-45F"),
    (0x4111_3043, "LFE5U-85F"),
    (0x0111_1043, "LFE5UM-25F"),
    (0x0111_2043, "LFE5UM-45F"),
    (0x0111_3043, "LFE5UM-85F"),
    (0x8111_1043, "LFE5UM5G-25F"),
    (0x8111_2043, "LFE5UM5G-45F"),
    (0x8111_3043, "LFE5UM5G-85F"),
];

impl Bitstream {
    /// Looks through a bitstream.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, BitstreamError> {
        if let Some(part) = gowin::part(bytes) {
            return Ok(Bitstream { part: part? });
        }
        let (ice40, ecp5) = (after(&ice40::PREAMBLE, bytes), after(ECP5, bytes));
        let part = match (ice40, ecp5) {
            // Whichever begins first: the other's preamble may be in its data.
            (Some(ice40), None) => ice40_part(ice40.1)?,
            (Some(ice40), Some(ecp5)) if ice40.0 < ecp5.0 => ice40_part(ice40.1)?,
            (_, Some((at, rest))) => ecp5_part(bytes.get(..at).unwrap_or_default(), rest)?,
            (None, None) => return Err(BitstreamError::Unknown),
        };
        Ok(Bitstream { part })
    }

    /// The part that it is for.
    pub fn part(&self) -> &'static str {
        self.part
    }

    /// Whether it is for this part, which may be named with its package and speed.
    pub fn is_for(&self, part: &str) -> bool {
        let rest = part
            .get(..self.part.len())
            .filter(|start| start.eq_ignore_ascii_case(self.part))
            .and_then(|start| part.get(start.len()..));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// Where a preamble begins, and what follows it.
fn after<'a>(preamble: &'static [u8], bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
    let found: IResult<&[u8], (&[u8], &[u8])> = (take_until(preamble), tag(preamble)).parse(bytes);
    let (rest, (before, _)) = found.ok()?;
    Some((before.len(), rest))
}

/// Runs a parser that fails only where bytes are missing.
fn parse<'a, T>(
    bytes: &'a [u8],
    mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
) -> Result<(&'a [u8], T), BitstreamError> {
    parser.parse(bytes).map_err(|_| BitstreamError::Truncated)
}

fn ice40_part(mut bytes: &[u8]) -> Result<&'static str, BitstreamError> {
    let (mut crc, mut checked) = (0, false);
    let (mut width, mut height, mut offset) = (0u32, 0u32, 0u32);
    let (mut columns, mut rows) = (0, 0);
    loop {
        let before = bytes;
        let (rest, command) = parse(bytes, u8)?;
        let (rest, payload) = parse(rest, take(command & 0x0f))?;
        let value = payload
            .iter()
            .fold(0u32, |value, &byte| value << 8 | u32::from(byte));
        bytes = rest;
        let mut reset = false;
        match (command & 0xf0, value) {
            (0x00, 0x01 | 0x03) => {
                if value == 1 {
                    columns = columns.max(width);
                    rows = rows.max(offset + height);
                }
                let data = width as usize * height as usize / 8;
                // The data, and two zeros.
                bytes = parse(bytes, take(data + 2))?.0;
            }
            (0x00, 0x05) => reset = true,
            (0x00, 0x06) if !checked => return Err(BitstreamError::Checksum),
            (0x00, 0x06) => break,
            (0x10 | 0x50 | 0x90, _) => {}
            (0x20, _) => checked = true,
            (0x60, _) => width = (value & 0xffff) + 1,
            (0x70, _) => height = value & 0xffff,
            (0x80, _) => offset = value & 0xffff,
            _ => return Err(BitstreamError::Command(command)),
        }
        let taken = before.get(..before.len() - bytes.len());
        crc = crc16(crc, taken.unwrap_or_default());
        if reset {
            crc = CRC_RESET;
        }
        // What follows its own CRC leaves 0.
        if command & 0xf0 == 0x20 && crc != 0 {
            return Err(BitstreamError::Checksum);
        }
    }
    let largest = Bank { columns, rows };
    let known = ice40::PARTS.iter().find(|(bank, _)| *bank == largest);
    Ok(known.ok_or(BitstreamError::Part)?.1)
}

/// Makes the FPGA compare its IDCODE.
const VERIFY_ID: u8 = 0xe2;
/// Commands that stand before it: no operation, and resetting the CRC.
const BEFORE_ID: [u8; 2] = [0xff, 0x3b];
/// The last command of a bitstream that is whole: the configuration is done.
const DONE: &[u8] = &[0x5e, 0, 0, 0];

fn ecp5_part(comments: &[u8], mut bytes: &[u8]) -> Result<&'static str, BitstreamError> {
    let code = loop {
        let (rest, command) = parse(bytes, u8)?;
        if command == 0xff {
            bytes = rest;
            continue;
        }
        // An operand of three bytes.
        let (rest, _) = parse(rest, (u8, be_u16))?;
        if command == VERIFY_ID {
            let (rest, code) = parse(rest, be_u32)?;
            let padding = rest.iter().rev().take_while(|byte| **byte == 0xff).count();
            if !rest[..rest.len() - padding].ends_with(DONE) {
                return Err(BitstreamError::Truncated);
            }
            break code;
        }
        if !BEFORE_ID.contains(&command) {
            return Err(BitstreamError::Command(command));
        }
        bytes = rest;
    };
    let known = ECP5_PARTS.iter().find(|(id, _)| *id == code);
    let part = known.ok_or(BitstreamError::Part)?.1;
    let bitstream = Bitstream { part };
    match comment(comments) {
        Some(name) if !bitstream.is_for(name) => Err(BitstreamError::Contradiction),
        _ => Ok(part),
    }
}

/// The part that the comments name, if they do.
fn comment(comments: &[u8]) -> Option<&str> {
    let (_, rest) = after(b"Part: ", comments)?;
    let line = rest.split(|&byte| byte == 0 || byte == b'\n').next()?;
    std::str::from_utf8(line).ok().map(str::trim)
}

#[cfg(test)]
mod tests;
