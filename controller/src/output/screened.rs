//! Output of several hosts on a terminal: no host may move the cursor over what another has said. Colors stay,
//! and end with their line; every other control character is shown as text.

use lariat_base::escape::escape;

/// Begins a control sequence.
const ESC: u8 = 0x1b;

/// Ends whatever colors a line has begun.
const RESET: &[u8] = b"\x1b[0m";

/// Appends a line without its end to `out`, made harmless; `colors` says whether colors stay.
pub(crate) fn push_line(line: &[u8], colors: bool, out: &mut Vec<u8>) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().any(|byte| is_odd(*byte)) {
        out.extend_from_slice(line);
        return;
    }
    let (mut left, mut colored) = (line, false);
    while !left.is_empty() {
        if let Some(len) = color_len(left) {
            if colors {
                out.extend_from_slice(&left[..len]);
                colored = true;
            }
            left = &left[len..];
            continue;
        }
        if let Some(rest) = left.strip_prefix(b"\t") {
            out.push(b'\t');
            left = rest;
            continue;
        }
        let next = left[1..].iter().position(|byte| matches!(*byte, ESC | b'\t'));
        let (text, rest) = left.split_at(next.map_or(left.len(), |next| next + 1));
        out.extend_from_slice(escape(text).as_bytes());
        left = rest;
    }
    if colored {
        out.extend_from_slice(RESET);
    }
}

/// Makes a text of several lines harmless, line by line.
pub(crate) fn text(text: &[u8], colors: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                push_line(line, colors, &mut out);
                out.push(b'\n');
            }
            None => push_line(line, colors, &mut out),
        }
    }
    out
}

/// What a terminal may do more with than show it; also what is no ASCII, which may hide such.
fn is_odd(byte: u8) -> bool {
    !(b' '..0x7f).contains(&byte)
}

/// Bytes of a sequence that sets colors, if the text begins with one: ESC [ digits m.
fn color_len(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"\x1b[")?;
    let end =
        rest.iter().position(|byte| !(byte.is_ascii_digit() || matches!(byte, b';' | b':')))?;
    (rest[end] == b'm').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &[u8], colors: bool) -> String {
        let mut out = Vec::new();
        push_line(line, colors, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_but_colors_reaches_the_terminal() {
        assert_eq!(line(b"plain text", true), "plain text");
        assert_eq!(line(b"x\rh2: all is well\x1b[K", true), "x\\x0dh2: all is well\\x1b[K");
        assert_eq!(line(b"a\x1b[31mred\x1b[0;1mb", true), "a\x1b[31mred\x1b[0;1mb\x1b[0m");
        assert_eq!(line(b"a\x1b[31mred", false), "ared");
        assert_eq!(line(b"\x1b[2J\x1b]0;title\x07", true), "\\x1b[2J\\x1b]0;title\\x07");
        assert_eq!(line(b"\x1b[31", true), "\\x1b[31");
        assert_eq!(line(b"a\tb\r", true), "a\tb");
        assert_eq!(
            line("gr\u{fc}n \u{9b}31m \u{202e}x".as_bytes(), true),
            "gr\u{fc}n \\u{9b}31m \\u{202e}x"
        );
        assert_eq!(line(b"\xff\x08\x1b", true), "\\xff\\x08\\x1b");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(text(b"a\x1b[1m\nb\r\n\n\x08", true), b"a\x1b[1m\x1b[0m\nb\n\n\\x08");
        assert_eq!(text(b"", true), b"");
    }
}
