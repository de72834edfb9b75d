//! Bitstreams of the iCE40, as far as several parts of the project look into them.
//!
//! A preamble, then commands of a byte, whose upper half says what and whose lower half how many
//! bytes of argument follow. Everything after the command that resets the checksum goes into
//! it ([`crc16`]), the command that checks it included, so that a sound bitstream leaves 0.
//! No command names the part: only the sizes of its banks tell it.

/// What stands before the commands.
pub const PREAMBLE: [u8; 4] = [0x7e, 0xaa, 0x99, 0x7e];
/// The checksum where it is reset.
pub const CRC_RESET: u16 = 0xffff;

/// A bank of configuration memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Bits of a row.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
}

impl Bank {
    const fn new(columns: u32, rows: u32) -> Self {
        Bank { columns, rows }
    }

    /// Bytes of its contents.
    pub const fn bytes(&self) -> usize {
        (self.columns * self.rows / 8) as usize
    }
}

/// Parts, and their largest bank of configuration memory.
pub const PARTS: [(Bank, &str); 6] = [
    (Bank::new(182, 80), "iCE40LP384"),
    (Bank::new(332, 144), "iCE40HX1K"),
    (Bank::new(656, 176), "iCE5LP4K"),
    (Bank::new(692, 176), "iCE40UP3K"),
    (Bank::new(692, 336), UP5K),
    (Bank::new(872, 272), "iCE40HX8K"),
];

/// The part of the pico-ice.
pub const UP5K: &str = "iCE40UP5K";
/// Its four banks, in the order of their numbers.
pub const UP5K_BANKS: [Bank; 4] = [
    Bank::new(692, 336),
    Bank::new(692, 176),
    Bank::new(692, 336),
    Bank::new(692, 176),
];

/// The checksum after more bytes: polynomial 0x1021, most significant bit first.
///
/// ```
/// use annulus_contract::ice40::{crc16, CRC_RESET};
/// let crc = crc16(CRC_RESET, b"123456789");
/// assert_eq!(crc, 0x29b1);
/// assert_eq!(crc16(crc, &crc.to_be_bytes()), 0);
/// ```
pub fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, &byte| {
        (0..8).rev().fold(crc, |crc, bit| {
            let feedback = (crc >> 15 ^ u16::from(byte >> bit & 1)) & 1;
            (crc << 1) ^ (feedback * 0x1021)
        })
    })
}
