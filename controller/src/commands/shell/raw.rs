//! The local terminal: raw while the remote one is used, and restored afterwards.

use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use lariat_wire::protocol::exec::Resize;

/// The size if the terminal reports none.
const SIZE: Resize = Resize { rows: 24, columns: 80 };

/// Resets modes that an interrupted program may have set: alternate screen, hidden cursor, mouse and paste
/// reports, keypad and colours.
const UNDO: &[u8] = b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m\r\n";

/// A raw terminal. Dropping it, also during a panic, restores the settings.
pub(super) struct Raw(Termios);

impl Raw {
    /// Makes stdin raw, if it is a terminal.
    pub(super) fn enter() -> rustix::io::Result<Option<Self>> {
        if !is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Resets modes that an interrupted program may have left.
pub(super) fn undo() {
    if isatty(stdout()) {
        // If the terminal is gone there is nothing to reset.
        let _ = rustix::io::write(stdout(), UNDO);
    }
}

/// Whether stdin is a terminal.
pub(super) fn is_terminal() -> bool {
    isatty(stdin())
}

/// The terminal's size, from whichever stream is a terminal.
pub(super) fn size() -> Resize {
    let known = [stdout(), stdin(), stderr()].into_iter().find_map(|fd| tcgetwinsize(fd).ok());
    match known {
        Some(size) if size.ws_row > 0 && size.ws_col > 0 => {
            Resize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => SIZE,
    }
}
