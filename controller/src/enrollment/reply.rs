//! What the script on a host says: lines that begin with a mark. Other lines are a login shell's, and are ignored.
//!
//! The host may be anybody's: what it says is bounded, and is text of a stranger until it is escaped.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The mark.
const MARK: &[u8] = b":lariat: ";

/// Longest line, in bytes: a file of 64 KiB in base64.
const MAX_LINE: usize = 128 * 1024;

/// Most bytes of a whole session.
const MAX_TOTAL: usize = 1024 * 1024;

/// One line of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The script runs.
    Begin,
    /// A fact about the host.
    Fact(String, String),
    /// A file of the host, or a longer text.
    File(String, Vec<u8>),
    /// There are no more facts.
    End,
    /// What was asked for is done.
    Done,
    /// What was asked for failed, and the script has ended.
    Failed(String),
}

/// The host says what the script does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReply {
    /// A line is too long.
    #[error("the host sent a line of more than {} KiB", MAX_LINE / 1024)]
    Line,
    /// Too much altogether.
    #[error("the host sent more than {} KiB", MAX_TOTAL / 1024)]
    Total,
    /// A line that the script does not write.
    #[error("the host sent a line that is none of the script's: {0:?}")]
    Unknown(String),
}

/// Splits what arrives into replies.
#[derive(Default)]
pub(crate) struct Replies {
    line: Vec<u8>,
    total: usize,
}

impl Replies {
    /// Takes bytes as they arrive; returns the replies that they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, BadReply> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > MAX_TOTAL {
            return Err(BadReply::Total);
        }
        let mut replies = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.line.len().saturating_add(part.len()) > MAX_LINE {
                return Err(BadReply::Line);
            }
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                replies.extend(parse(&line)?);
            }
        }
        Ok(replies)
    }
}

/// The reply of a line, unless it is somebody else's.
fn parse(line: &[u8]) -> Result<Option<Reply>, BadReply> {
    let Some(line) = line.strip_prefix(MARK) else { return Ok(None) };
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let unknown = || BadReply::Unknown(lariat_base::escape::shortened(line, 100));
    let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| unknown());
    let reply = match (kind, rest.split_once(' ')) {
        ("begin", None) => Reply::Begin,
        ("fact", Some((key, value))) => Reply::Fact(key.to_owned(), value.to_owned()),
        ("file", Some((name, content))) => Reply::File(name.to_owned(), decoded(content)?),
        // An empty one.
        ("file", None) => Reply::File(rest.to_owned(), Vec::new()),
        ("end", None) => Reply::End,
        ("done", None) => Reply::Done,
        ("failed", None) => Reply::Failed(one_line(&decoded(rest)?)),
        _ => return Err(unknown()),
    };
    Ok(Some(reply))
}

/// What a program of the host printed, as one line.
pub(super) fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enrollment::facts::Facts;

    #[test]
    fn marked_lines_are_replies_and_others_are_a_shells() {
        let mut replies = Replies::default();
        let text = b"Welcome!\n:lariat: begin\n:lariat: fact kernel Linux 6.1\nx :lariat: end\r\n\
            :lariat: file config bmFtZQ==\n:lariat: file config \n:lariat: end\r\n:lariat: do";
        let came = replies.take(text).unwrap();
        let file = |content: &[u8]| Reply::File("config".to_owned(), content.to_owned());
        let kernel = Reply::Fact("kernel".to_owned(), "Linux 6.1".to_owned());
        assert_eq!(came, [Reply::Begin, kernel, file(b"name"), file(b""), Reply::End]);
        let came = replies.take(b"ne\n:lariat: failed bm8gZGlzawogCmxlZnQK\n").unwrap();
        assert_eq!(came, [Reply::Done, Reply::Failed("no disk; left".to_owned())]);
        let bad = replies.take(b":lariat: file x !\n").unwrap_err();
        assert_eq!(bad, BadReply::Unknown("file x !".to_owned()));
    }

    #[test]
    fn a_host_that_never_stops_is_left() {
        let mut replies = Replies::default();
        let endless = (0..).find_map(|_| replies.take(&[b'x'; 4096]).err());
        assert_eq!(endless, Some(BadReply::Line));
        let mut replies = Replies::default();
        let endless = (0..).find_map(|_| replies.take(b"Welcome to this host!\n").err());
        assert_eq!(endless, Some(BadReply::Total));
    }

    proptest! {
        #[test]
        fn whatever_a_host_sends_is_bounded_and_shown_escaped(
            parts in proptest::collection::vec(
                prop_oneof![
                    "(:lariat: )?(begin|fact|file|end|done|failed)?( [a-z-]{0,9})?( .{0,40})?\n",
                    proptest::collection::vec(any::<u8>(), 0..200)
                        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                ],
                0..20,
            ),
        ) {
            let mut replies = Replies::default();
            let mut facts = Facts::default();
            for part in parts {
                match replies.take(part.as_bytes()) {
                    Ok(came) => came.into_iter().for_each(|reply| facts.add(reply)),
                    Err(bad) => {
                        let line = crate::error::CliError::from(bad).line();
                        prop_assert!(!line.chars().any(char::is_control), "{line}");
                    }
                }
                prop_assert!(replies.line.len() <= MAX_LINE);
            }
            for problem in crate::enrollment::plan::tests::decided(&facts) {
                let line = crate::error::CliError::new(problem).line();
                prop_assert!(!line.chars().any(char::is_control), "{line}");
            }
        }
    }
}
