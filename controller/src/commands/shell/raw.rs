//! This end's terminal: raw as long as the other one is used, and as it was afterwards.

use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use lariat_wire::protocol::exec::Resize;

/// The size of a terminal that has none.
const SIZE: Resize = Resize { rows: 24, columns: 80 };

/// What a program that was left in the middle may have asked of the terminal, undone: another screen, a
/// hidden cursor, reports of the mouse and of pasting, keypad and colours.
const UNDO: &[u8] = b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m\r\n";

/// A raw terminal. Dropping it, when the stack unwinds too, makes it what it was.
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

/// Undoes what a program may have left behind that was not seen to its end.
pub(super) fn undo() {
    if isatty(stdout()) {
        // A terminal that takes nothing has nothing to undo.
        let _ = rustix::io::write(stdout(), UNDO);
    }
}

/// Whether stdin is a terminal.
pub(super) fn is_terminal() -> bool {
    isatty(stdin())
}

/// How large the terminal is, whichever stream it is on.
pub(super) fn size() -> Resize {
    let known = [stdout(), stdin(), stderr()].into_iter().find_map(|fd| tcgetwinsize(fd).ok());
    match known {
        Some(size) if size.ws_row > 0 && size.ws_col > 0 => {
            Resize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => SIZE,
    }
}
