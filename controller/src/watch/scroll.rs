//! Which part of a list that is longer than the screen is on it. No I/O.

use super::key::Key;

/// A part of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    first: usize,
    /// As many lines as fit.
    rows: usize,
    total: usize,
    /// The end is shown, and what comes behind it as well.
    follows: bool,
}

impl Scroll {
    /// The end of a list that grows.
    pub(super) fn at_end() -> Self {
        Self { follows: true, ..Self::default() }
    }

    /// Takes in the sizes of the list and of the screen. Returns the first line that is shown.
    pub(super) fn fit(&mut self, total: usize, rows: usize) -> usize {
        (self.total, self.rows) = (total, rows);
        let last = total.saturating_sub(rows);
        self.first = if self.follows { last } else { self.first.min(last) };
        self.first
    }

    /// Takes in the sizes, and the line that is to be shown. Returns the first line that is.
    pub(super) fn fit_with(&mut self, line: usize, total: usize, rows: usize) -> usize {
        let least = (line + 1).saturating_sub(rows);
        self.first = self.first.clamp(least, line.max(least));
        self.fit(total, rows)
    }

    /// The line that a key leads to from this one, of so many.
    pub(super) fn moved(&self, key: Key, line: usize, count: usize) -> usize {
        let page = self.rows.max(1);
        let line = match key {
            Key::Up => line.saturating_sub(1),
            Key::Down => line + 1,
            Key::PageUp => line.saturating_sub(page),
            Key::PageDown => line + page,
            Key::Home => 0,
            Key::End => count,
            _ => line,
        };
        line.min(count.saturating_sub(1))
    }

    /// Shows another part, if the key is for that.
    pub(super) fn key(&mut self, key: Key) {
        let last = self.total.saturating_sub(self.rows);
        let first = self.moved(key, self.first, last + 1);
        self.follows = first == last && (self.follows || first != self.first || key == Key::End);
        self.first = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_on_the_screen() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.fit_with(0, 100, 10), 0);
        assert_eq!(scroll.fit_with(10, 100, 10), 1);
        assert_eq!(scroll.fit_with(5, 100, 10), 1, "it is there");
        assert_eq!(scroll.fit_with(99, 100, 10), 90);
        assert_eq!(scroll.fit_with(3, 5, 10), 0, "there are fewer");
        assert_eq!(scroll.fit_with(0, 0, 0), 0);
        let keys = [Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End];
        scroll.fit(100, 10);
        assert_eq!(keys.map(|key| scroll.moved(key, 50, 100)), [49, 51, 40, 60, 0, 99]);
        assert_eq!(keys.map(|key| scroll.moved(key, 0, 0)), [0; 6]);
    }

    #[test]
    fn the_end_is_followed_until_something_else_is_shown() {
        let mut scroll = Scroll::at_end();
        assert_eq!((scroll.fit(100, 10), scroll.fit(101, 10)), (90, 91));
        scroll.key(Key::PageUp);
        assert_eq!((scroll.fit(101, 10), scroll.fit(200, 10)), (81, 81));
        scroll.key(Key::End);
        assert_eq!((scroll.fit(200, 10), scroll.fit(300, 10)), (190, 290));
        scroll.key(Key::Char('x'));
        assert_eq!(scroll.fit(301, 10), 291);
    }
}
