//! Lists that people write: a line an item. Editors of other systems put a byte order mark before the first
//! line and a carriage return behind each; neither is part of any item.

/// What some editors put at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line without what an editor put around it; `first` says that it is the first of its file.
pub(crate) fn plain_line(line: &[u8], first: bool) -> &[u8] {
    let line = if first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Each line of a text.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(number, line)| plain_line(line, number == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_puts_around_lines_is_no_part_of_them() {
        let all = |text: &'static [u8]| lines(text).collect::<Vec<_>>();
        assert_eq!(all(b"\xef\xbb\xbfa\r\nb\r\n"), [&b"a"[..], b"b", b""]);
        assert_eq!(all(b"a\n\xef\xbb\xbfb"), [&b"a"[..], b"\xef\xbb\xbfb"]);
        assert_eq!(all(b"a\r\r\nb\rc"), [&b"a\r"[..], b"b\rc"]);
        assert_eq!(all(b"\xef\xbb\xbf"), [b""]);
    }
}
