//! Lists in text files, one item per line. Some editors write a byte order mark at the beginning and a carriage
//! return at the end of each line; both are ignored.

/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line without what an editor added; `first` if it is the first of its file.
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
    fn byte_order_marks_and_carriage_returns_are_ignored() {
        let all = |text: &'static [u8]| lines(text).collect::<Vec<_>>();
        assert_eq!(all(b"\xef\xbb\xbfa\r\nb\r\n"), [&b"a"[..], b"b", b""]);
        assert_eq!(all(b"a\n\xef\xbb\xbfb"), [&b"a"[..], b"\xef\xbb\xbfb"]);
        assert_eq!(all(b"a\r\r\nb\rc"), [&b"a\r"[..], b"b\rc"]);
        assert_eq!(all(b"\xef\xbb\xbf"), [b""]);
    }
}
