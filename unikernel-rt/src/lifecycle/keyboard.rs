//! Ctrl-Alt-Del in the bytes of a PS/2 keyboard (scan code set 2).

/// Follows the keys that matter.
#[derive(Default)]
pub(crate) struct Keyboard {
    control: bool,
    alt: bool,
    extended: bool,
    released: bool,
}

const CONTROL: u8 = 0x14;
const ALT: u8 = 0x11;
/// After `EXTENDED`; alone it is the same key of the number block.
const DELETE: u8 = 0x71;
const EXTENDED: u8 = 0xe0;
const RELEASED: u8 = 0xf0;

impl Keyboard {
    /// Takes the next byte; true when the three keys are down with it. Left and right ones count alike.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        match byte {
            EXTENDED => self.extended = true,
            RELEASED => self.released = true,
            key => {
                let down = !core::mem::take(&mut self.released);
                let extended = core::mem::take(&mut self.extended);
                match key {
                    CONTROL => self.control = down,
                    ALT => self.alt = down,
                    DELETE => return down && extended && self.control && self.alt,
                    _ => {}
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: bool) {
        let mut keyboard = Keyboard::default();
        let pressed = bytes.iter().fold(false, |pressed, byte| pressed | keyboard.push(*byte));
        assert_eq!(pressed, expected, "{bytes:02x?}");
    }

    #[test]
    fn all_three_keys_and_nothing_less() {
        check(&[0x14, 0x11, 0xe0, 0x71], true);
        check(&[0xe0, 0x14, 0xe0, 0x11, 0xe0, 0x71], true);
        check(&[0x11, 0x1c, 0xf0, 0x1c, 0x14, 0xe0, 0x71], true);
        check(&[0x14, 0x11, 0x71], false);
        check(&[0x14, 0xe0, 0x71], false);
        check(&[0x14, 0x11, 0xf0, 0x11, 0xe0, 0x71], false);
        check(&[0x14, 0x11, 0xe0, 0xf0, 0x71], false);
        check(&[0x14, 0x11, 0xe0, 0xf0, 0x14, 0xe0, 0x71], false);
    }
}
