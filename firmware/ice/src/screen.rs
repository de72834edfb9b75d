//! Text on a small display, if one is there: an SSD1306 of 128 by 64 pixels.

use core::fmt::Write;
use embedded_graphics::mono_font::{ascii::FONT_6X10, MonoTextStyle, MonoTextStyleBuilder};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use embedded_hal::i2c::I2c;
use heapless::String;
use ssd1306::mode::{BufferedGraphicsMode, DisplayConfig};
use ssd1306::prelude::{DisplayRotation, DisplaySize128x64, I2CInterface};
use ssd1306::{I2CDisplayInterface, Ssd1306};

/// Letters of a line.
pub const COLUMNS: usize = 21;
/// Lines of text.
pub const ROWS: usize = 5;
/// Pixels of a letter.
const LETTER: (i32, i32) = (6, 10);
/// Where the text begins, below the line that tells the rate.
const TOP: i32 = 14;

/// What shows text without a host.
pub trait Screen {
    /// Shows text, and how fast the core could write.
    fn write(&mut self, text: &[u8], tokens_per_second: u32);
}

type Display<I> =
    Ssd1306<I2CInterface<I>, DisplaySize128x64, BufferedGraphicsMode<DisplaySize128x64>>;

/// An SSD1306 that may be there or not: without one, all of this does nothing.
pub struct Oled<I> {
    display: Option<Display<I>>,
    page: Page,
    rate: u32,
}

impl<I: I2c> Oled<I> {
    /// Looks for a display on this bus, if there is one.
    pub fn new(bus: Option<I>) -> Self {
        let display = bus.and_then(|bus| {
            let interface = I2CDisplayInterface::new(bus);
            let display = Ssd1306::new(interface, DisplaySize128x64, DisplayRotation::Rotate0);
            let mut display = display.into_buffered_graphics_mode();
            let found = display.init().and_then(|()| display.flush());
            found.is_ok().then_some(display)
        });
        let mut oled = Oled {
            display,
            page: Page::default(),
            rate: 0,
        };
        oled.draw_rate();
        oled.flush();
        oled
    }

    fn draw(&mut self, text: &str, x: i32, y: i32) {
        if let Some(display) = &mut self.display {
            // Drawing goes to memory and does not fail.
            let _ = Text::with_baseline(text, Point::new(x, y), STYLE, Baseline::Top).draw(display);
        }
    }

    fn draw_rate(&mut self) {
        let mut line: String<COLUMNS> = String::new();
        let _ = match self.rate {
            0 => write!(line, "{:<COLUMNS$}", "annulus"),
            rate => write!(line, "annulus {rate:>7} tok/s"),
        };
        self.draw(&line, 0, 0);
    }

    /// Sends what has changed. A display that does not answer is gone.
    fn flush(&mut self) {
        if self.display.as_mut().is_some_and(|d| d.flush().is_err()) {
            self.display = None;
        }
    }
}

const STYLE: MonoTextStyle<'static, BinaryColor> = MonoTextStyleBuilder::new()
    .font(&FONT_6X10)
    .text_color(BinaryColor::On)
    .background_color(BinaryColor::Off)
    .build();

impl<I: I2c> Screen for Oled<I> {
    fn write(&mut self, text: &[u8], tokens_per_second: u32) {
        if self.display.is_none() {
            return;
        }
        if self.rate != tokens_per_second {
            self.rate = tokens_per_second;
            self.draw_rate();
        }
        for &byte in text {
            match self.page.push(byte) {
                Change::Nothing => {}
                Change::Letter { row, column } => {
                    let letter = [self.page.rows[row][column]];
                    let letter = core::str::from_utf8(&letter).unwrap_or_default();
                    self.draw(letter, column as i32 * LETTER.0, y(row));
                }
                Change::All => {
                    for row in 0..ROWS {
                        let line = self.page.rows[row];
                        self.draw(core::str::from_utf8(&line).unwrap_or_default(), 0, y(row));
                    }
                }
            }
        }
        self.flush();
    }
}

fn y(row: usize) -> i32 {
    TOP + row as i32 * LETTER.1
}

/// The letters on the screen.
struct Page {
    rows: [[u8; COLUMNS]; ROWS],
    row: usize,
    column: usize,
}

impl Default for Page {
    fn default() -> Self {
        Page {
            rows: [[b' '; COLUMNS]; ROWS],
            row: 0,
            column: 0,
        }
    }
}

/// What is to be drawn anew.
enum Change {
    Nothing,
    Letter { row: usize, column: usize },
    All,
}

impl Page {
    /// The next byte of a text. What is not ASCII shows as a question mark.
    fn push(&mut self, byte: u8) -> Change {
        let letter = match byte {
            b'\n' => {
                self.column = COLUMNS;
                return Change::Nothing;
            }
            b' '..=b'~' => byte,
            // The first byte of a longer character.
            0xc0..=0xff => b'?',
            _ => return Change::Nothing,
        };
        let mut scrolled = false;
        if self.column == COLUMNS {
            self.column = 0;
            self.row += 1;
            if self.row == ROWS {
                self.row = ROWS - 1;
                self.rows.rotate_left(1);
                self.rows[self.row].fill(b' ');
                scrolled = true;
            }
        }
        let (row, column) = (self.row, self.column);
        self.rows[row][column] = letter;
        self.column += 1;
        if scrolled {
            Change::All
        } else {
            Change::Letter { row, column }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn shown(text: &str) -> Vec<String> {
        let mut page = Page::default();
        for byte in text.bytes() {
            page.push(byte);
        }
        let lines = page.rows.iter().map(|row| String::from_utf8_lossy(row));
        lines.map(|line| line.trim_end().into()).collect()
    }

    #[test]
    fn lines_wrap_and_scroll() {
        assert_eq!(shown("emma\nolivia"), ["emma", "olivia", "", "", ""]);
        let long = "a line that is longer than the screen is wide";
        assert_eq!(
            shown(long)[..3],
            ["a line that is longer", " than the screen is w", "ide"]
        );
        assert_eq!(shown("1\n2\n3\n4\n5\n6\n7\n"), ["3", "4", "5", "6", "7"]);
        assert_eq!(shown("née\t漢")[0], "n?e?");
    }
}
