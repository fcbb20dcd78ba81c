//! Requests that are put to rules and not made. What no rule looks at is left empty.

use lariat_base::name::{JobId, TransferId};

use super::connect::{Connect, ConnectUnix};
use super::exec::{Command, Resize, Run, Streams};
use super::listen::{self, Listen};
use super::metadata::{Metadata, Preserve};
use super::pull::Pull;
use super::request::{ConnectRequest, FileRequest, JobRequest, Request};
use super::transfer::{Destination, Identity, Offer, Overrides, Push, Sending};
use super::tree::TreeOptions;

/// The request to run a command.
pub fn run(command: Command, user: Option<String>) -> Request {
    let streams = match command {
        Command::Login => {
            Streams::Terminal { term: b"dumb".to_vec(), size: Resize { rows: 24, columns: 80 } }
        }
        Command::Shell(_) | Command::Argv(_) | Command::Script { .. } => {
            Streams::Followed { stdin: false }
        }
    };
    let (job, cwd, env, timeout_ms, grace_ms) = (JobId([0; 16]), None, Vec::new(), None, 0);
    Request::Job(JobRequest::Run(Run {
        job,
        command,
        user,
        cwd,
        env,
        streams,
        timeout_ms,
        grace_ms,
    }))
}

/// The request to push to a path.
pub fn push(
    path: Vec<u8>,
    user: Option<String>,
    preserve: Preserve,
    overrides: Overrides,
) -> Request {
    let (metadata, identity) = (Metadata::default(), Identity::default());
    Request::File(FileRequest::Push(Push {
        transfer: TransferId([0; 16]),
        dest: Destination { path, name: b"file".to_vec() },
        offer: Offer { size: None, sparse: false, metadata, identity, seed: 0 },
        overrides,
        preserve,
        dry_run: true,
        user,
    }))
}

/// The request to connect to `ADDR:PORT`, to `host:NAME`, which has parked a connection, or to a unix socket by its
/// absolute path; `None` if it is none of these.
pub fn connect(to: &str, user: Option<String>) -> Option<Request> {
    if to.starts_with('/') {
        let connect = ConnectUnix { path: to.into(), user };
        return Some(Request::Connect(ConnectRequest::ConnectUnix(connect)));
    }
    if let Some(name) = to.strip_prefix("host:") {
        let (parked, host) = (Some(name.parse().ok()?), String::new());
        let connect = Connect { parked, host, port: 0, bare: false };
        return Some(Request::Connect(ConnectRequest::Connect(connect)));
    }
    let (host, port) = to.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return None;
    }
    let (host, port) = (bare.unwrap_or(host).to_owned(), port.parse().ok()?);
    let connect = Connect { parked: None, host, port, bare: false };
    let request = Request::Connect(ConnectRequest::Connect(connect));
    request.check().is_ok().then_some(request)
}

/// The request to listen at `[ADDR:]PORT` of the host; `None` if it is not that.
pub fn listen(at: &str) -> Option<Request> {
    let (address, port) = match at.rsplit_once(':') {
        Some((address, port)) => (address, port),
        None => ("127.0.0.1", at),
    };
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    if bare.is_none() && address.contains(':') {
        return None;
    }
    let address = listen::address(bare.unwrap_or(address)).to_owned();
    let listen = Listen { address, port: port.parse().ok()? };
    let request = Request::Connect(ConnectRequest::Listen(listen));
    request.check().is_ok().then_some(request)
}

/// The request to pull a path. The home itself is no path on the wire.
pub fn pull(path: Vec<u8>, user: Option<String>, tree: Option<TreeOptions>) -> Request {
    let source = if path.is_empty() { b".".to_vec() } else { path };
    let (transfer, sending) = (TransferId([0; 16]), Sending::default());
    Request::File(FileRequest::Pull(Pull { transfer, source, sending, tree, user }))
}
