//! Whole lines with their host in front, of output that comes in pieces.

use anstyle::AnsiColor;
use lariat_common::name::HostName;

/// Colours that tell hosts apart on a light screen and on a dark one.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// What stands before the lines of the host of this number. With colours it ends whatever the line
/// before has left behind.
pub(crate) fn prefix(host: &HostName, number: usize, colours: bool) -> String {
    if !colours {
        return format!("{host}: ");
    }
    let style = COLOURS[number % COLOURS.len()].on_default();
    format!("{}{style}{host}{style:#}: ", anstyle::Reset)
}

/// Longest line, in bytes, that is waited for; a longer one is cut.
const MAX_LINE: usize = 64 * 1024;

/// Puts a prefix before each line of one stream.
pub(crate) struct Lines {
    prefix: Vec<u8>,
    /// A line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    /// Before the first byte.
    pub(crate) fn new(prefix: impl Into<Vec<u8>>) -> Self {
        Self { prefix: prefix.into(), begun: Vec::new() }
    }

    /// Takes bytes, and gives the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            for part in part.chunks(MAX_LINE) {
                self.begun.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    self.end(&mut lines);
                } else if self.begun.len() >= MAX_LINE {
                    self.begun.push(b'\n');
                    self.end(&mut lines);
                }
            }
        }
        lines
    }

    /// What is left at the stream's end, as a line.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        if !self.begun.is_empty() {
            self.begun.push(b'\n');
            self.end(&mut lines);
        }
        lines
    }

    fn end(&mut self, lines: &mut Vec<u8>) {
        lines.extend_from_slice(&self.prefix);
        lines.append(&mut self.begun);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_tell_hosts_apart() {
        let host = "web1".parse().unwrap();
        assert_eq!(prefix(&host, 3, false), "web1: ");
        assert_eq!(prefix(&host, 3, true), "\x1b[0m\x1b[33mweb1\x1b[0m: ");
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
    fn a_line_without_an_end_does_not_grow_without_one() {
        let mut lines = Lines::new("");
        let told: usize = (0..100).map(|_| lines.push(&[b'x'; 10_000]).len()).sum();
        assert!(told > 900_000 && lines.begun.len() < MAX_LINE);
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
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
