//! Connections by a command of the operator's own: `proxy` in the inventory, as ssh's ProxyCommand.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::str::FromStr;
use std::task::{Context, Poll};

use lariat_client::{Address, Baring, BoxStream, Dial, DialError, Dialing, Peer, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A command whose stdin and stdout are the connection. It is split into words once, as a shell would, and no shell
/// sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy(Vec<String>);

/// A text is no [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no command with its arguments, such as \"nc %h %p\"")]
pub(crate) struct BadProxy(String);

impl FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let words = shlex::split(text).filter(|words| !words.is_empty());
        words.map(Self).ok_or_else(|| BadProxy(text.to_owned()))
    }
}

impl Proxy {
    /// The words with the address in place of `%h` and `%p`; `%%` is a `%`.
    fn words(&self, address: &Address) -> Vec<String> {
        self.0.iter().map(|word| filled(word, address)).collect()
    }
}

fn filled(word: &str, address: &Address) -> String {
    let mut text = String::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('%', Some('h')) => text.push_str(address.host()),
            ('%', Some('p')) => text.push_str(&address.port().to_string()),
            ('%', Some('%')) => text.push('%'),
            _ => {
                text.push(c);
                continue;
            }
        }
        rest.next();
    }
    text
}

/// Connects by a command.
pub(crate) struct ProxyDial(pub(crate) Proxy);

impl Dial for ProxyDial {
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a> {
        Box::pin(async {
            let address = peer.address.as_ref().ok_or(DialError::NoAddress)?;
            let words = self.0.words(address);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            connection(command).map_err(|error| failed(&format!("start {}", words[0]), error))
        })
    }

    fn via(&self) -> Option<String> {
        Some(self.0.0[0].clone())
    }
}

/// A failure of this machine, or of a program on it.
pub(super) fn failed(what: &str, error: io::Error) -> DialError {
    let source = crate::error::CliError::from(error).during(what).line();
    DialError::Leg { source: source.into(), is_refusal: false }
}

/// Starts a command whose stdin and stdout are the connection. What it has to say goes to this program's stderr.
pub(super) fn connection(mut command: Command) -> io::Result<BoxStream> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    Ok(Box::new(Process { stdin: Some(stdin), stdout, _child: child }))
}

/// The streams of a process, as a connection. The process ends with it.
struct Process {
    /// `None` once this direction has ended.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    _child: Child,
}

impl Process {
    fn stdin(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.stdin.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Stream for Process {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok(self as BoxStream) })
    }
}

impl AsyncRead for Process {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Process {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stdin()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A pipe's writing end has ended once it is closed.
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_split_first_and_filled_then() {
        let proxy: Proxy = "nc -X 5 'a b' %h %p %%h %x %".parse().unwrap();
        let words = proxy.words(&"[::1]:7".parse().unwrap());
        assert_eq!(words, ["nc", "-X", "5", "a b", "::1", "7", "%h", "%x", "%"]);
        assert!("".parse::<Proxy>().is_err() && "nc 'x".parse::<Proxy>().is_err());
    }
}
