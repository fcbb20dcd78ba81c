//! `--from`: each line of a file is a command; they run one after another, over one session.

use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_base::escape::escape;
use lariat_base::name::JobId;
use lariat_wire::limits::MAX_MESSAGE;
use lariat_wire::protocol::exec::{Command, Run};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::{Args, Runner};
use crate::error::CliError;
use crate::status;
use crate::stdio::Stdin;
use crate::text_file::plain_line;

/// Longest line, in bytes: a half of what a request may have.
const LONGEST: usize = MAX_MESSAGE / 2;

/// Bytes of all lines that are kept for several hosts.
const MOST: usize = 16 * 1024 * 1024;

/// Runs all of them as `template` says. Gives the first status that is not 0; what is no command's own
/// failure ends it.
pub(super) async fn run(
    runner: &mut Runner<'_>,
    template: Run,
    file: &Path,
) -> Result<u8, CliError> {
    let shown = escape(file.as_os_str().as_bytes());
    let failed = |error| CliError::from(error).during(format!("read {shown}"));
    let mut lines = BufReader::new(open(file).map_err(failed)?);
    let mut status = 0;
    for number in 1_u64.. {
        let line = tokio::select! {
            biased;
            line = next(&mut lines) => line.map_err(failed)?,
            signal = runner.signals.next() => return Ok(status::signal(signal)),
        };
        let Some(line) = line else { break };
        let line = plain_line(&line, number == 1).to_vec();
        if is_comment(&line) {
            continue;
        }
        let at = || format!("{shown}, line {number}");
        if line.len() > LONGEST {
            return Err(CliError::new(format!("over {} KiB", LONGEST / 1024)).during(at()));
        }
        let job = JobId::generate()?;
        let request = Run { job, command: Command::Shell(line.clone()), ..template.clone() };
        request.check().map_err(|e| CliError::from(e).during(at()))?;
        let done = runner.one(&request, Some(&line)).await?;
        status = if status == 0 { done.status } else { status };
        if !done.go_on {
            // That it was stopped counts for more than what failed before.
            return Ok(runner.signals.came().map_or(done.status, status::signal));
        }
    }
    Ok(status)
}

/// All of them at once, for several hosts.
pub(super) async fn all(args: &Args) -> Result<Vec<Command>, CliError> {
    let file = args.from.as_deref().unwrap_or(Path::new("-"));
    let shown = escape(file.as_os_str().as_bytes());
    let failed = |error| CliError::from(error).during(format!("read {shown}"));
    let mut lines = BufReader::new(open(file).map_err(failed)?);
    let (mut commands, mut bytes) = (Vec::new(), 0);
    for number in 1_u64.. {
        let Some(line) = next(&mut lines).await.map_err(failed)? else { break };
        let line = plain_line(&line, number == 1).to_vec();
        bytes += line.len();
        if line.len() > LONGEST || bytes > MOST {
            let most = if line.len() > LONGEST { LONGEST } else { MOST };
            let error = CliError::new(format!("over {} KiB", most / 1024));
            return Err(error.during(format!("{shown}, line {number}")));
        }
        if !is_comment(&line) {
            commands.push(Command::Shell(line));
        }
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
