//! The display on the board's I2C pins: an SSD1306 of 128 by 64 pixels, as far as what is sent to
//! it decides what it shows.

/// Pixels of a line.
const WIDTH: usize = 128;
/// Bytes of a column: pages of eight lines, the topmost in the lowest bit.
const PAGES: usize = 8;
/// The first byte of a message: the others are commands, or pixels.
const COMMANDS: u8 = 0x00;
const PIXELS: u8 = 0x40;

/// An SSD1306.
#[derive(Clone, Debug)]
pub struct Screen {
    pixels: [[u8; WIDTH]; PAGES],
    on: bool,
    /// A command whose arguments have not all come, and those that have.
    command: Vec<u8>,
    /// The window that pixels go to: first and last column, first and last page.
    window: [usize; 4],
    column: usize,
    page: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Screen {
            pixels: [[0; WIDTH]; PAGES],
            on: false,
            command: Vec::new(),
            window: [0, WIDTH - 1, 0, PAGES - 1],
            column: 0,
            page: 0,
        }
    }
}

impl Screen {
    /// Whether a pixel is lit: from the left, from the top.
    pub fn lit(&self, x: usize, y: usize) -> bool {
        let column = self.pixels.get(y / 8).and_then(|page| page.get(x));
        self.on && column.is_some_and(|column| column >> (y % 8) & 1 == 1)
    }

    /// A message on the bus.
    pub(super) fn write(&mut self, message: &[u8]) {
        match message {
            [COMMANDS, commands @ ..] => commands.iter().for_each(|&byte| self.command(byte)),
            [PIXELS, pixels @ ..] => pixels.iter().for_each(|&byte| self.column(byte)),
            _ => {}
        }
    }

    fn command(&mut self, byte: u8) {
        self.command.push(byte);
        match self.command[..] {
            [0x20 | 0x81 | 0x8d | 0xa8 | 0xad | 0xd3 | 0xd5 | 0xd8 | 0xd9 | 0xda | 0xdb] => return,
            [0x21 | 0x22] | [0x21 | 0x22, _] => return,
            [0x21, first, last] => {
                self.window[..2].copy_from_slice(&[first.into(), last.into()]);
                self.column = first.into();
            }
            [0x22, first, last] => {
                self.window[2..].copy_from_slice(&[first.into(), last.into()]);
                self.page = first.into();
            }
            [0xae] => self.on = false,
            [0xaf] => self.on = true,
            // Contrast, clocks, voltages, and which way up the glass is.
            _ => {}
        }
        self.command.clear();
    }

    /// Eight pixels, and on to the next column of the window, or its next page.
    fn column(&mut self, byte: u8) {
        let place = self.pixels.get_mut(self.page);
        if let Some(place) = place.and_then(|page| page.get_mut(self.column)) {
            *place = byte;
        }
        let [first, last, top, bottom] = self.window;
        self.column += 1;
        if self.column > last {
            self.column = first;
            self.page = if self.page < bottom {
                self.page + 1
            } else {
                top
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_go_where_the_window_is() {
        let mut screen = Screen::default();
        screen.write(&[0, 0xae, 0x20, 0x00, 0x81, 0xaf, 0x21, 10, 11, 0x22, 2]);
        screen.write(&[0, 3]);
        screen.write(&[0x40, 0x01, 0x80, 0xff, 0x00]);
        assert!(
            !screen.lit(10, 16),
            "it is off: the contrast was not a command"
        );
        screen.write(&[0, 0xaf]);
        let lit = |x, y| screen.lit(x, y);
        assert!(lit(10, 16) && !lit(10, 17) && lit(11, 23) && !lit(11, 16));
        assert!(lit(10, 24) && lit(10, 31) && !lit(11, 24) && !lit(12, 16) && !lit(200, 3));
    }
}
