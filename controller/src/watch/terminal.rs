//! The terminal while the full screen has it: raw, on the alternate screen. It is restored in every case, a panic
//! included.

use std::fmt::Write as _;
use std::io;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Terminal;
use rustix::stdio::stdout;
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::key::Key;
use crate::output::printer::Printer;
use crate::stdio::write_all;

/// The alternate screen, without a cursor, and without wrapping.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Whether the terminal is to be given back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// How long a terminal that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a person does at the terminal.
pub(super) enum Input {
    Key(Key),
    /// The terminal has another size.
    Resized,
}

/// The terminal.
pub(super) struct FullScreen {
    terminal: Terminal<Escapes>,
    printer: Printer,
}

impl FullScreen {
    /// Takes the terminal over. Also returns what is typed there.
    pub(super) fn enter() -> io::Result<(Self, Receiver<Input>)> {
        let printer = Printer::start(stdout(), None)?;
        let terminal = Terminal::new(Escapes { text: String::new(), printer: printer.clone() })?;
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        let before = panic::take_hook();
        let own = thread::current().id();
        panic::set_hook(Box::new(move |info| {
            // A panic at one host is a failure of that host, which is shown.
            if thread::current().id() == own {
                restore();
                before(info);
            }
        }));
        printer.put(ENTER);
        let screen = Self { terminal, printer };
        Ok((screen, keyboard()?))
    }

    /// Draws, unless the terminal has not yet taken what was drawn before. Returns whether it did.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<bool> {
        if self.printer.is_busy() {
            return Ok(false);
        }
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        Ok(true)
    }

    /// Draws everything anew, next time.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Whether the terminal shows colours.
    pub(super) fn has_colors(&self) -> bool {
        self.printer.has_colours()
    }

    /// Resolves if the terminal is gone.
    pub(super) async fn gone(&self) {
        self.printer.broken().await;
    }

    /// Gives the terminal back.
    pub(super) async fn leave(self) {
        drop(panic::take_hook());
        if IS_TAKEN.swap(false, Ordering::Relaxed) {
            self.printer.put(LEAVE);
            let _ = timeout(PATIENCE, self.printer.flushed()).await;
            let _ = disable_raw_mode();
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once.
fn restore() {
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        // If the terminal is gone there is nothing to restore.
        let _ = write_all(stdout(), LEAVE);
        let _ = disable_raw_mode();
    }
}

/// Reads keys on a thread, which ends with the process.
fn keyboard() -> io::Result<Receiver<Input>> {
    let (tell, input) = channel(64);
    let work = move || {
        while let Ok(event) = read() {
            let input = match event {
                Event::Resize(..) => Some(Input::Resized),
                event => Key::of(&event).map(Input::Key),
            };
            if input.is_some_and(|input| tell.blocking_send(input).is_err()) {
                return;
            }
        }
    };
    thread::Builder::new().name("keyboard".into()).spawn(work)?;
    Ok(input)
}

/// Turns cells into the escapes that draw them. Each frame is one write.
struct Escapes {
    text: String,
    printer: Printer,
}

impl Escapes {
    fn escape(&mut self, sequence: &str) {
        self.text.push_str("\x1b[");
        self.text.push_str(sequence);
    }

    fn go_to(&mut self, x: u16, y: u16) {
        // A String takes what is written to it.
        let _ = write!(self.text, "\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1);
    }
}

/// The colours by their numbers.
const COLORS: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

/// The parameters that select a style, from whatever it was before.
fn select(style: Style) -> String {
    let mut text = "0".to_owned();
    for (modifier, number) in [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::UNDERLINED, ";4"),
        (Modifier::REVERSED, ";7"),
    ] {
        if style.add_modifier.contains(modifier) {
            text.push_str(number);
        }
    }
    match COLORS.iter().position(|color| Some(*color) == style.fg) {
        // A String takes what is written to it.
        Some(number @ ..8) => drop(write!(text, ";{}", 30 + number)),
        Some(number) => drop(write!(text, ";{}", 82 + number)),
        None => {}
    }
    text.push('m');
    text
}

impl Backend for Escapes {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let (mut next, mut present) = (None, None);
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.go_to(x, y);
            }
            let style = Style::new().fg(cell.fg).add_modifier(cell.modifier);
            if present != Some(style) {
                self.escape(&select(style));
                present = Some(style);
            }
            self.text.push_str(cell.symbol());
            // Where the cursor is behind a wide character is the terminal's opinion.
            next = (cell.symbol().len() == 1).then(|| (x.saturating_add(1), y));
        }
        if present.is_some() {
            self.escape("0m");
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.go_to(x, y);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.escape("2J");
        Ok(())
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(stdout())?;
        Ok(match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => Size::new(80, 24),
            (width, height) => Size::new(width, height),
        })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.printer.put(std::mem::take(&mut self.text).as_bytes());
        Ok(())
    }
}
