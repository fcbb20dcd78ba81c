//! `--from`: each line of a file is a command; they run one after another, over one session.

use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_base::escape::escape;
use lariat_wire::limits::MAX_MESSAGE;
use lariat_wire::protocol::exec::{Command, Run};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::error::CliError;
use crate::stdio::Stdin;
use crate::text_file::plain_line;

/// Longest line, in bytes: a half of what a request may have.
const LONGEST: usize = MAX_MESSAGE / 2;

/// Bytes of all lines that are kept for several hosts.
const MOST: usize = 16 * 1024 * 1024;

/// The lines of a file that are commands.
pub(super) struct Lines {
    source: BufReader<Box<dyn AsyncRead + Unpin>>,
    /// The file's name, for errors.
    shown: String,
    /// The number of the line that was read last.
    number: u64,
}

impl Lines {
    /// Of this file; `-` is stdin.
    pub(super) fn open(file: &Path) -> Result<Self, CliError> {
        let shown = escape(file.as_os_str().as_bytes());
        match open(file) {
            Ok(source) => Ok(Self { source: BufReader::new(source), shown, number: 0 }),
            Err(error) => Err(CliError::from(error).during(format!("read {shown}"))),
        }
    }

    /// The next line that is a command, for requests like `template`.
    pub(super) async fn next(&mut self, template: &Run) -> Result<Option<Command>, CliError> {
        loop {
            let line = next(&mut self.source).await;
            let line =
                line.map_err(|e| CliError::from(e).during(format!("read {}", self.shown)))?;
            let Some(line) = line else { return Ok(None) };
            self.number += 1;
            let line = plain_line(&line, self.number == 1).to_vec();
            if line.len() > LONGEST {
                return Err(self.over(LONGEST));
            }
            if is_comment(&line) {
                continue;
            }
            let request = Run { command: Command::Shell(line), ..template.clone() };
            request.check().map_err(|e| CliError::from(e).during(self.at()))?;
            return Ok(Some(request.command));
        }
    }

    fn at(&self) -> String {
        format!("{}, line {}", self.shown, self.number)
    }

    fn over(&self, limit: usize) -> CliError {
        CliError::new(format!("over {} KiB", limit / 1024)).during(self.at())
    }
}

/// All of them at once, for several hosts.
pub(super) async fn all(file: &Path, template: &Run) -> Result<Vec<Command>, CliError> {
    let mut lines = Lines::open(file)?;
    let (mut commands, mut bytes) = (Vec::new(), 0);
    while let Some(command) = lines.next(template).await? {
        if let Command::Shell(line) = &command {
            bytes += line.len();
        }
        if bytes > MOST {
            return Err(lines.over(MOST));
        }
        commands.push(command);
    }
    Ok(commands)
}

fn open(file: &Path) -> std::io::Result<Box<dyn AsyncRead + Unpin>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(Stdin::new()?));
    }
    Ok(Box::new(Cursor::new(std::fs::read(file)?)))
}

/// The next line without its end; one that is too long is cut behind [`LONGEST`].
async fn next<R: AsyncBufRead + Unpin>(lines: &mut R) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = LONGEST as u64 + 2;
    if lines.take(most).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    Ok(Some(line))
}

/// Nothing that a shell would do anything for.
fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii_start().first().is_none_or(|&byte| byte == b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_newlines_and_at_the_limit() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = &b"a\n\nb c\r\nlast"[..];
            for line in [&b"a"[..], b"", b"b c\r", b"last"] {
                assert_eq!(next(&mut lines).await.unwrap().as_deref(), Some(line));
            }
            assert_eq!(next(&mut lines).await.unwrap(), None);
            let long = vec![b'x'; LONGEST + 100];
            assert!(next(&mut &long[..]).await.unwrap().unwrap().len() > LONGEST);
        });
    }

    #[test]
    fn what_a_shell_would_pass_over_is_not_sent() {
        assert!([&b""[..], b"  ", b"# x", b" \t# x"].into_iter().all(is_comment));
        assert!(![&b"x # y"[..], b":", b" a"].into_iter().any(is_comment));
    }
}
