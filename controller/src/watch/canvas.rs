//! Writes text into the cells of a screen of any size, and no further.

use ratatui_core::buffer::Buffer;
use ratatui_core::style::{Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// Lines around a list: a summary, headings, keys.
const AROUND: u16 = 3;

/// The cells, with whether they have colours.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) has_colors: bool,
}

impl Canvas<'_> {
    /// Writes into this part of a line, and marks where the text is cut. Returns the column behind it.
    pub(super) fn put(&mut self, (x, y): (u16, u16), width: u16, text: &str, style: Style) -> u16 {
        let area = *self.buffer.area();
        let width = width.min(area.width.saturating_sub(x));
        if y >= area.height || width == 0 {
            return x;
        }
        let style = if self.has_colors { style } else { Style { fg: None, ..style } };
        let end = self.buffer.set_stringn(x, y, text, width.into(), style).0;
        if text.width() > width.into() {
            self.buffer.set_stringn(x + width - 1, y, "…", 1, style);
        }
        end
    }

    /// Writes at the right end of this part of a line.
    pub(super) fn put_right(&mut self, (x, y): (u16, u16), width: u16, text: &str, style: Style) {
        let left = usize::from(width).saturating_sub(text.width());
        let left = u16::try_from(left).unwrap_or(0);
        self.put((x + left, y), width - left, text, style);
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.buffer.area().width, self.buffer.area().height)
    }

    /// The lines for a list.
    pub(super) fn rows(&self) -> u16 {
        self.size().1.saturating_sub(AROUND)
    }

    /// The line of keys: each with the text behind it.
    pub(super) fn keys(&mut self, keys: &[(&str, &str)]) {
        let (width, height) = self.size();
        let (y, mut x) = (height.saturating_sub(1), 0);
        for (key, what) in keys {
            x = self.put((x, y), width, key, Style::new().add_modifier(Modifier::BOLD));
            x = self.put((x, y), width.saturating_sub(x), what, Style::new());
        }
    }

    pub(super) fn highlight(&mut self, y: u16) {
        let mut area = *self.buffer.area();
        if y < area.height {
            (area.y, area.height) = (y, 1);
            self.buffer.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}
