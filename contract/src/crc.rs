//! CRC-32 (IEEE 802.3, reflected, as zlib computes it): the hash of a run's
//! logits in self-tests, and the checksum of images and link bursts.

/// A running CRC-32.
///
/// ```
/// use annulus_contract::crc::Crc32;
/// let mut crc = Crc32::new();
/// crc.update(b"123456789");
/// assert_eq!(crc.value(), 0xcbf43926);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc32(u32);

/// The polynomial, bit-reversed.
pub const POLYNOMIAL: u32 = 0xedb8_8320;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

impl Crc32 {
    /// Of no bytes.
    pub const fn new() -> Self {
        Crc32(!0)
    }

    /// Append bytes.
    pub const fn update(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            self.0 = TABLE[((self.0 ^ bytes[i] as u32) & 255) as usize] ^ self.0 >> 8;
            i += 1;
        }
    }

    /// Append logits in order of index, each as 24 bits, little-endian.
    pub fn update_logits(&mut self, logits: &[i32]) {
        for logit in logits {
            let bytes = logit.to_le_bytes();
            self.update(&bytes[..3]);
        }
    }

    /// The checksum of all bytes so far.
    pub const fn value(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// CRC-32 of `bytes`.
pub const fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.value()
}
