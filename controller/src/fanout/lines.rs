//! Splits output into whole lines, each with its host's prefix.

use lariat_base::name::HostName;

use crate::output::screened;
use crate::output::style::name_color;

/// The prefix of a host. In color, it resets attributes that the line before left.
pub(crate) fn prefix(host: &HostName, colors: bool) -> String {
    if !colors {
        return format!("{host}: ");
    }
    let style = name_color(host.as_str()).on_default();
    format!("{}{style}{host}{style:#}: ", anstyle::Reset)
}

/// Longest line, in bytes without its end, that is buffered and written whole; each stream of each host in
/// progress may need as much memory. A longer one is cut at multiples of this, however its bytes arrive.
const MAX_LINE: usize = 1024 * 1024;

/// Bytes of buffer that a stream keeps between its lines.
const SHORT: usize = 4 * 1024;

/// Puts a prefix before each line of one stream.
pub(crate) struct Lines {
    prefix: Vec<u8>,
    /// Whether the terminal shows colors; `None` if the stream is not a terminal.
    screen: Option<bool>,
    /// The incomplete last line.
    begun: Vec<u8>,
}

impl Lines {
    /// Before the first byte.
    pub(crate) fn new(prefix: impl Into<Vec<u8>>) -> Self {
        Self { prefix: prefix.into(), screen: None, begun: Vec::new() }
    }

    /// Lines for a terminal: control characters are escaped.
    pub(crate) fn on_screen(self, colors: bool) -> Self {
        Self { screen: Some(colors), ..self }
    }

    /// Takes bytes, and returns the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (mut text, ended) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            while self.begun.len() + text.len() > MAX_LINE {
                let (now, rest) = text.split_at(MAX_LINE - self.begun.len());
                self.begun.extend_from_slice(now);
                self.end(&mut lines);
                text = rest;
            }
            self.begun.extend_from_slice(text);
            if ended {
                self.end(&mut lines);
            }
        }
        lines
    }

    /// The incomplete last line at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        if !self.begun.is_empty() {
            self.end(&mut lines);
        }
        lines
    }

    fn end(&mut self, lines: &mut Vec<u8>) {
        lines.extend_from_slice(&self.prefix);
        match self.screen {
            Some(colors) => {
                screened::push_line(&self.begun, colors, lines);
                self.begun.clear();
            }
            None => lines.append(&mut self.begun),
        }
        lines.push(b'\n');
        // Releases the memory of a long line.
        self.begun.shrink_to(SHORT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_keep_colors_that_tell_them_apart_and_mean_nothing_else() {
        let host = "web1".parse().unwrap();
        assert_eq!(prefix(&host, false), "web1: ");
        let colored = prefix(&host, true);
        assert!(
            colored.starts_with("\x1b[0m\x1b[") && colored.ends_with("mweb1\x1b[0m: "),
            "{colored}"
        );
        let of = |number: usize| name_color(&format!("web{number:02}"));
        let eight: std::collections::BTreeSet<_> =
            (1..=8).map(|n| format!("{:?}", of(n))).collect();
        assert_eq!(eight.len(), 8, "{eight:?}");
        let meaning = ["Red", "BrightRed", "Yellow", "BrightYellow"];
        assert!(meaning.iter().all(|color| !eight.contains(*color)), "{eight:?}");
    }

    #[test]
    fn on_a_terminal_no_host_writes_over_another() {
        let mut lines = Lines::new("h1: ").on_screen(true);
        let told = lines.push(b"x\rh2: fine\x1b[K\n\x1b[31mred\n");
        assert_eq!(told, b"h1: x\\x0dh2: fine\\x1b[K\nh1: \x1b[31mred\x1b[0m\n");
    }

    #[test]
    fn lines_come_out_whole() {
        let mut lines = Lines::new("web1: ");
        assert_eq!(lines.push(b"a\nb"), b"web1: a\n");
        assert_eq!(lines.push(b""), b"");
        assert_eq!(lines.push(b"c\n\n\xff\n"), b"web1: bc\nweb1: \nweb1: \xff\n");
        assert_eq!(lines.finish(), b"");
        assert_eq!(lines.push(b"last"), b"");
        assert_eq!(lines.finish(), b"web1: last\n");
        assert_eq!(lines.finish(), b"");
    }

    #[test]
    fn an_unterminated_line_does_not_grow_without_limit() {
        for piece in [1000, 65_536, 3 * MAX_LINE] {
            let mut lines = Lines::new("h: ");
            let long = [&vec![b'x'; 2 * MAX_LINE + 7], &b"\ny\n"[..]].concat();
            let mut told = Vec::new();
            for piece in long.chunks(piece) {
                told.extend(lines.push(piece));
                assert!(lines.begun.len() <= MAX_LINE);
            }
            let lens: Vec<_> = told.split(|&byte| byte == b'\n').map(<[u8]>::len).collect();
            assert_eq!(lens, [MAX_LINE + 3, MAX_LINE + 3, 7 + 3, 4, 0]);
            assert!(lines.begun.capacity() <= SHORT);
        }
    }

    #[test]
    fn a_line_of_maximum_length_is_whole() {
        let mut lines = Lines::new("h: ");
        let line = [&vec![b'x'; MAX_LINE][..], b"\n"].concat();
        assert_eq!(lines.push(&line[..MAX_LINE]), b"");
        assert!(lines.push(b"\n") == [b"h: ", &line[..]].concat());
        assert!(lines.push(&line) == [b"h: ", &line[..]].concat());
        assert_eq!((lines.push(b"\n"), lines.finish()), (b"h: \n".to_vec(), Vec::new()));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0_usize..20, 0..200),
        ) {
            let mut whole = Lines::new("h: ");
            let expected = [whole.push(&bytes), whole.finish()].concat();
            let (mut parts, mut got, mut left) = (Lines::new("h: "), Vec::new(), &bytes[..]);
            for cut in cuts {
                let (now, rest) = left.split_at(cut.min(left.len()));
                got.extend(parts.push(now));
                left = rest;
            }
            got.extend(parts.push(left));
            got.extend(parts.finish());
            prop_assert_eq!(got, expected);
        }
    }
}
