//! What the firmware died of, kept in memory that a reset does not clear.

use annulus_contract::crc::crc32;
use core::fmt::{Display, Write};
use heapless::String;

/// Bytes of the longest text.
const LENGTH: usize = 160;

/// What it says.
pub type Text = String<LENGTH>;

/// A place in memory for a text. After power-on it holds anything, so a text counts only with
/// its checksum. Every pattern of bits is a value of it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Obituary {
    length: u32,
    crc: u32,
    text: [u8; LENGTH],
}

impl Obituary {
    /// Without a text.
    pub const fn empty() -> Self {
        Obituary {
            length: u32::MAX,
            crc: 0,
            text: [0; LENGTH],
        }
    }

    /// Keeps a text, or as much of it as there is room for.
    pub fn write(&mut self, text: impl Display) {
        let mut bytes = Cut(Text::new());
        // Nothing that is written here fails: what is too long is cut.
        let _ = write!(bytes, "{text}");
        let bytes = bytes.0.as_bytes();
        self.text[..bytes.len()].copy_from_slice(bytes);
        self.length = bytes.len() as u32;
        self.crc = crc32(bytes);
    }

    /// The text that was kept, if there is one, and forgets it.
    pub fn take(&mut self) -> Option<Text> {
        let length = core::mem::replace(&mut self.length, u32::MAX);
        let bytes = self.text.get(..usize::try_from(length).ok()?)?;
        // Memory that is all zeros has a right checksum of nothing.
        if bytes.is_empty() || crc32(bytes) != self.crc {
            return None;
        }
        Text::try_from(core::str::from_utf8(bytes).ok()?).ok()
    }
}

/// Makes a program keep what it died of, for its next life: a place in memory, `obituary()`, that is
/// not cleared, and the handlers of panics and of what no program can go on after, which write
/// there and call the given function.
#[macro_export]
macro_rules! last_words {
    ($reset:path) => {
        #[link_section = ".uninit.OBITUARY"]
        static mut OBITUARY: ::core::mem::MaybeUninit<$crate::Obituary> =
            ::core::mem::MaybeUninit::uninit();

        /// The place for last words.
        fn obituary() -> &'static mut $crate::Obituary {
            // Safety: every pattern of bits is a value of it; and it is used at the very
            // beginning and at the very end of a life, with nothing after that, so that no two
            // references meet.
            unsafe { (*(&raw mut OBITUARY)).assume_init_mut() }
        }

        /// A panic is told to the next host that says hello.
        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo) -> ! {
            obituary().write(info);
            $reset()
        }

        /// So is what no program can go on after.
        #[::cortex_m_rt::exception]
        unsafe fn HardFault(frame: &::cortex_m_rt::ExceptionFrame) -> ! {
            obituary().write(format_args!("hard fault at {:#010x}", frame.pc()));
            $reset()
        }
    };
}

/// Keeps what fits.
struct Cut(Text);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            if self.0.push(character).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_once() {
        let mut memory = Obituary::empty();
        assert_eq!(memory.take(), None);
        memory.write(format_args!("index out of bounds: {}", 7));
        assert_eq!(memory.take().as_deref(), Some("index out of bounds: 7"));
        assert_eq!(memory.take(), None);
    }

    #[test]
    fn a_long_one_is_cut_and_noise_is_none() {
        let mut memory = Obituary::empty();
        memory.write(format_args!("{:ä>300}", ""));
        let text = memory.take().unwrap();
        assert!(text.len() > LENGTH - 4 && text.chars().all(|c| c == 'ä'));
        let mut zeros = Obituary {
            length: 0,
            crc: 0,
            text: [0; LENGTH],
        };
        assert_eq!(zeros.take(), None);
        for length in [0, 5, LENGTH as u32, 161, u32::MAX] {
            let mut noise = Obituary {
                length,
                crc: 0x1234_5678,
                text: [0xa5; LENGTH],
            };
            assert_eq!(noise.take(), None);
        }
    }
}
