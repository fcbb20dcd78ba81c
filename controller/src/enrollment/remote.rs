//! A session of ssh in which the script runs: facts first, then what is asked for, one at a time.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat_base::lock::lock;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::enrollment::SCRIPT;
use crate::enrollment::facts::Facts;
use crate::enrollment::reply::{BadReply, Replies, Reply, one_line};

/// How long ssh may take until the script runs: as long as sshd lets somebody think about a password.
const LOGIN: Duration = Duration::from_secs(120);

/// How long the host may take for anything, and how long it may take no byte of a file.
const SILENCE: Duration = Duration::from_secs(120);

/// How long ssh may take to end once its output has.
const LEAVE: Duration = Duration::from_secs(2);

/// How much of ssh's own messages is kept, in bytes.
const TAIL: usize = 2048;

/// Shows a person what ssh says.
pub(super) type Tell = Box<dyn Fn(&str) + Send>;

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// ssh can't be started.
    #[error("start ssh: {0}")]
    Start(std::io::Error),
    /// It did not come as far as to the script; the text is its own.
    #[error("{0}")]
    Login(String),
    /// The connection was lost, with what ssh said of it.
    #[error("the connection was lost{0}")]
    Lost(String),
    /// The host said nothing.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// The host says what the script does not.
    #[error(transparent)]
    Bad(#[from] BadReply),
    /// The step failed on the host.
    #[error("{0}")]
    Failed(String),
}

/// A session on a host.
pub(super) struct Remote {
    child: Child,
    /// `None` once the session has ended.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    replies: Replies,
    waiting: VecDeque<Reply>,
    has_begun: bool,
    errors: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

/// The line for the login shell on the host, whatever shell that is: it reads the script, and nothing behind it.
pub(super) fn line(script: &str) -> String {
    let length = script.len();
    format!("exec sh -c 'script=$(dd bs=1 count={length} 2>/dev/null); eval \"$script\"'")
}

/// The script for a host whose agent has this port.
pub(super) fn script(port: u16) -> String {
    format!("port={port}\n{SCRIPT}")
}

impl Remote {
    /// Starts a session. What ssh says is passed to `tell` as well, if somebody is there.
    pub(super) async fn open(
        mut command: Command,
        script: &str,
        tell: Option<Tell>,
    ) -> Result<Self, Broken> {
        let mut child = command.spawn().map_err(Broken::Start)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Broken::Lost(String::new()));
        };
        let errors = Arc::new(Mutex::new(Vec::new()));
        let listening = tokio::spawn(listen(stderr, Arc::clone(&errors), tell));
        let (replies, waiting, has_begun) = (Replies::default(), VecDeque::new(), false);
        let mut remote = Self {
            child,
            stdin: Some(stdin),
            stdout,
            replies,
            waiting,
            has_begun,
            errors,
            listening,
        };
        remote.write(script.as_bytes(), LOGIN).await?;
        Ok(remote)
    }

    /// Everything that the script says of the host.
    pub(super) async fn facts(&mut self) -> Result<Facts, Broken> {
        let mut facts = Facts::default();
        loop {
            match self.reply(if self.has_begun { SILENCE } else { LOGIN }).await? {
                Reply::Begin => self.has_begun = true,
                Reply::End => return Ok(facts),
                reply => facts.add(reply),
            }
        }
    }

    /// Asks for a step, and waits until it is done. Returns what it gave, if anything.
    pub(super) async fn ask(&mut self, verb: &str) -> Result<Option<Vec<u8>>, Broken> {
        self.send(verb, &[]).await
    }

    /// Has a file put in its place on the host.
    pub(super) async fn put(
        &mut self,
        path: &str,
        mode: &str,
        content: &[u8],
    ) -> Result<(), Broken> {
        let (length, sum) = (content.len(), hex::encode(Sha256::digest(content)));
        self.send(&format!("put {path} {mode} {length} {sum}"), content).await.map(drop)
    }

    async fn send(&mut self, line: &str, content: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        self.write(format!("{line}\n").as_bytes(), SILENCE).await?;
        self.write(content, SILENCE).await?;
        let mut given = None;
        loop {
            match self.reply(SILENCE).await? {
                Reply::File(_, content) => given = Some(content),
                Reply::Done => return Ok(given),
                _ => {}
            }
        }
    }

    /// Writes to the script. Where that has ended, it or ssh has said why.
    async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Broken> {
        for part in bytes.chunks(64 * 1024) {
            let Some(stdin) = &mut self.stdin else { return Err(self.ended().await) };
            match timeout(limit, stdin.write_all(part)).await {
                Err(_) => return Err(Broken::Silent(limit)),
                Ok(Ok(())) => {}
                Ok(Err(_)) => loop {
                    self.reply(limit).await?;
                },
            }
        }
        Ok(())
    }

    /// The next reply.
    async fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        let mut buffer = [0; 8192];
        loop {
            match self.waiting.pop_front() {
                Some(Reply::Failed(why)) => return Err(Broken::Failed(why)),
                Some(reply) => return Ok(reply),
                None => {}
            }
            let read = timeout(limit, self.stdout.read(&mut buffer)).await;
            match read.map_err(|_| Broken::Silent(limit))? {
                Ok(count) if count > 0 => self.waiting.extend(self.replies.take(&buffer[..count])?),
                Ok(_) | Err(_) => return Err(self.ended().await),
            }
        }
    }

    /// What ssh said at its end.
    async fn ended(&mut self) -> Broken {
        drop(self.stdin.take());
        let status = timeout(LEAVE, self.child.wait()).await;
        // A master of connections that ssh has left behind may hold its stderr.
        let _ = timeout(LEAVE, &mut self.listening).await;
        let mut said = one_line(&lock(&self.errors));
        if said.is_empty()
            && let Ok(Ok(status)) = status
        {
            let _ = write!(said, "ssh ended with {status}");
        }
        if self.has_begun {
            Broken::Lost(if said.is_empty() { said } else { format!(" ({said})") })
        } else {
            Broken::Login(said)
        }
    }

    /// Ends the session: the script ends with its stdin.
    pub(super) async fn close(mut self) {
        drop(self.stdin);
        let _ = timeout(LEAVE, self.child.wait()).await;
    }
}

/// Keeps the end of what ssh says.
async fn listen(mut stderr: ChildStderr, errors: Arc<Mutex<Vec<u8>>>, tell: Option<Tell>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        if let Some(tell) = &tell {
            tell(&one_line(&buffer[..count]));
        }
        let mut errors = lock(&errors);
        errors.extend_from_slice(&buffer[..count]);
        let surplus = errors.len().saturating_sub(TAIL);
        errors.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// A shell of this machine in place of ssh.
    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The script, which ends before it changes anything.
    async fn facts_here(port: u16) -> Facts {
        let script = script(port);
        let mut remote = Remote::open(shell(&line(&script)), &script, None).await.unwrap();
        let facts = remote.facts().await.unwrap();
        remote.close().await;
        facts
    }

    #[tokio::test]
    async fn the_script_says_how_this_machine_is() {
        let facts = facts_here(1).await;
        assert_eq!(facts.machine, std::env::consts::ARCH);
        assert!(facts.kernel.starts_with("Linux ") && facts.time.is_some(), "{facts:?}");
        assert_eq!(facts.missing, [""; 0]);
        assert!(facts.holders.is_empty() && facts.directories.len() > 2, "{facts:?}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_seen_with_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let facts = facts_here(listener.local_addr().unwrap().port()).await;
        let own = std::process::id();
        assert!(facts.holders.iter().any(|(pid, _)| *pid == own), "{:?}", facts.holders);
    }

    #[tokio::test]
    async fn why_a_session_ended_is_told() {
        let facts = async |line: &str| {
            let mut remote = Remote::open(shell(line), "", None).await?;
            remote.facts().await
        };
        let told = async |line| facts(line).await.unwrap_err().to_string();
        assert_eq!(told("echo 'Permission denied' >&2; exit 255").await, "Permission denied");
        assert_eq!(told("exit 3").await, "ssh ended with exit status: 3");
        let lost = "echo ':lariat: begin'; echo gone >&2";
        assert_eq!(told(lost).await, "the connection was lost (gone)");
        let failed = "echo ':lariat: begin'; echo ':lariat: failed ZnVsbA=='";
        assert_eq!(told(failed).await, "full");
    }
}
