//! *Gowin* (`.fs`): a line for each command, in the digits 0 and 1; `//` begins a comment. After a
//! preamble come commands, the IDCODE among them, then as many lines of data as the last of them
//! says, each with a CRC of itself and of the commands before it, then one that says that it is done.

use super::BitstreamError;

/// The line from which on everything is checked.
const PREAMBLE: [u8; 2] = [0xa5, 0xc3];
/// Makes the FPGA compare its IDCODE.
const VERIFY_ID: u8 = 0x06;
/// Where in flash what follows lies: the only command that no CRC knows.
const FLASH_ADDRESS: u8 = 0xd2;
/// So many lines of data follow.
const LINES: u8 = 0x3b;
/// The configuration is done.
const DONE: u8 = 0x08;
/// Bytes behind a line's data: its CRC, and six that belong to the next one's.
const BEHIND: usize = 8;

/// IDCODEs.
const PARTS: [(u32, &str); 4] = [
    (0x0000_081b, "GW2A-18"),
    (0x1100_581b, "GW1N-9"),
    (0x1100_481b, "GW1N-9C"),
    (0x0900_281b, "GW1N-1"),
];

/// The part that a file is for; `None` if it is no such file.
pub fn part(file: &[u8]) -> Option<Result<&'static str, BitstreamError>> {
    let lines = std::str::from_utf8(file).ok()?.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let mut lines = lines.map(bytes);
    lines
        .by_ref()
        .find(|line| line.as_deref() == Some(&PREAMBLE))?;
    Some(checked(lines))
}

fn checked(
    mut lines: impl Iterator<Item = Option<Vec<u8>>>,
) -> Result<&'static str, BitstreamError> {
    let mut next = || {
        let line = lines.next().ok_or(BitstreamError::Truncated)?;
        line.filter(|line| line.len() >= 2)
            .ok_or(BitstreamError::Truncated)
    };
    let (mut summed, mut code) = (Vec::new(), None);
    let count = loop {
        let line = next()?;
        if line[0] != FLASH_ADDRESS {
            summed.extend(&line);
        }
        match (line[0], line.get(4..8)) {
            (VERIFY_ID, Some(id)) => code = id.try_into().ok().map(u32::from_be_bytes),
            (LINES, _) => {
                break line[1..]
                    .iter()
                    .skip(1)
                    .fold(0, |n, &byte| n << 8 | u32::from(byte))
            }
            _ => {}
        }
    };
    for _ in 0..count {
        let line = next()?;
        let (data, behind) = line
            .split_at_checked(line.len().saturating_sub(BEHIND))
            .filter(|(_, behind)| behind.len() == BEHIND)
            .ok_or(BitstreamError::Truncated)?;
        summed.extend(data);
        if crc16_arc(&summed).to_le_bytes() != behind[..2] {
            return Err(BitstreamError::Checksum);
        }
        summed.clear();
        summed.extend(&behind[2..]);
    }
    while next()?[0] != DONE {}
    let known = PARTS.iter().find(|(id, _)| Some(*id) == code);
    Ok(known.ok_or(BitstreamError::Part)?.1)
}

/// A line's bytes; `None` if it has other digits, or too few.
fn bytes(line: &str) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.len() == 8)?;
        u8::from_str_radix(digits, 2).ok()
    };
    line.as_bytes().chunks(8).map(byte).collect()
}

/// CRC-16/ARC: the polynomial 0x8005, bits in reverse, from zero.
pub fn crc16_arc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xa001 } else { 0 }
        })
    })
}
