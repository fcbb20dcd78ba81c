//! The keys that mean something on the screen.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C
    Interrupt,
    /// Ctrl-L
    Redraw,
    Char(char),
}

impl Key {
    /// The key of what a terminal reports, if it is one.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        Some(match code {
            _ if *kind == KeyEventKind::Release => return None,
            KeyCode::Char('c') if is_control => Self::Interrupt,
            KeyCode::Char('l') if is_control => Self::Redraw,
            KeyCode::Char(_) if is_control || modifiers.contains(KeyModifiers::ALT) => return None,
            KeyCode::Char(letter) => Self::Char(*letter),
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Escape,
            KeyCode::Backspace => Self::Backspace,
            _ => return None,
        })
    }
}
