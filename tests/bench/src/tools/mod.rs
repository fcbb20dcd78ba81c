//! The tools that lariat is compared with, as far as they are installed.

pub(crate) mod lariat;
pub(crate) mod many;
pub(crate) mod nc;
pub(crate) mod rsync;
pub(crate) mod ssh;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use lariat_testing::wait;

use crate::machine::output;

/// The direction of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server.
    Push,
    /// From the server.
    Pull,
}

/// Where the tools are. A missing one is an error when it is asked for.
pub(crate) struct Tools {
    path: Vec<PathBuf>,
}

impl Tools {
    /// Searches PATH, and the directories of daemons that are not in a user's PATH.
    pub(crate) fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut path: Vec<PathBuf> = std::env::split_paths(&path).collect();
        path.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
        Self { path }
    }

    /// The path of a tool.
    pub(crate) fn get(&self, name: &str) -> Result<PathBuf, String> {
        let places = self.path.iter().map(|directory| directory.join(name));
        places.into_iter().find(|path| path.is_file()).ok_or(format!("no {name} in PATH"))
    }

    /// The tools' own version lines.
    pub(crate) fn versions(&self) -> Vec<(&'static str, String)> {
        let ask = |name, argument| match self.get(name) {
            Ok(path) => (name, output(Command::new(path).arg(argument))),
            Err(why) => (name, why),
        };
        vec![
            ask("ssh", "-V"),
            ask("rsync", "--version"),
            ask("nc", "-h"),
            ask("cp", "--version"),
            ask("clush", "--version"),
            ask("pdsh", "-V"),
        ]
    }
}

/// Starts a server on a free port of loopback and waits until it listens.
///
/// These servers can't be handed an open port, only its number. Another program may take the port in between,
/// so a server that ends is restarted on another one.
fn listening(mut command: impl FnMut(u16) -> Command, log: &Path) -> Result<(Child, u16), String> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let mut child = command(port).spawn().map_err(|e| format!("can't be started: {e}"))?;
        let listens = wait::until("a server to listen", || {
            let connected = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok();
            let ended = matches!(child.try_wait(), Ok(Some(_)) | Err(_));
            (connected || ended).then_some(!ended)
        });
        if listens {
            return Ok((child, port));
        }
    }
    let log = std::fs::read_to_string(log).unwrap_or_default();
    Err(format!("does not start: {}", log.trim()))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no port: {e}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| format!("no port: {e}"))
}

/// A server that is killed when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
