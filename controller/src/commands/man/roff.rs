//! Text as roff.

/// A line of text, in which nothing is a request or an escape.
pub(super) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 8);
    if text.starts_with(['.', '\'']) {
        line.push_str(r"\&");
    }
    for letter in text.chars() {
        match letter {
            '\\' => line.push_str(r"\(rs"),
            '-' => line.push_str(r"\-"),
            '\'' => line.push_str(r"\(aq"),
            '`' => line.push_str(r"\(ga"),
            '^' => line.push_str(r"\(ha"),
            '~' => line.push_str(r"\(ti"),
            _ => line.push(letter),
        }
    }
    line.push('\n');
    line
}

/// The heading of a section.
pub(super) fn heading(text: &str) -> String {
    format!(".SH {text}\n")
}

/// A term with its explanation.
pub(super) fn term(term: &str, text: &str) -> String {
    format!(".TP\n.B {}{}", line(term), line(text))
}

/// Lines that stay as they are.
pub(super) fn verbatim<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: String = lines.into_iter().map(line).collect();
    format!(".RS 4\n.nf\n{lines}.fi\n.RE\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_request() {
        assert_eq!(line(r"it's a\b --x ~"), "it\\(aqs a\\(rsb \\-\\-x \\(ti\n");
        assert_eq!(line(".TH"), "\\&.TH\n");
        assert_eq!(line("'"), "\\&\\(aq\n");
    }
}
