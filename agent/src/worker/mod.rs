//! Work as another user on files and unix sockets, in a process that has that user's rights and no others.
//!
//! ```text
//! controller ══ TLS ══ agent (root) ── socket pair ── worker (the user) ── files, sockets
//! ```
//!
//! The agent keeps the connection and passes frames on (`relay.rs`); it never opens a path that came over the
//! wire. The worker is the agent's own binary, started anew for each request ([`SUBCOMMAND`]): it drops all
//! of root's privileges ([`confine`]) before it reads the first byte, and then serves the request with the
//! code that the agent uses for its own user.
//!
//! A worker is not trusted: the user may have taken it over. The agent accepts from it only frames of the
//! kinds that its request may produce ([`kinds`]), and its exit status.

mod confine;
mod kinds;
mod look;
mod process;
mod relay;
mod request;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use lariat_base::name::KeyId;
use lariat_engine::confined::named;
use lariat_engine::file_size_limit;
use lariat_wire::codec;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::memory::{Capped, Memory, NoMemory};
use lariat_wire::protocol::failure::{Cause, Failure};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) use look::look;
pub(crate) use process::Worker;
pub(crate) use relay::relay;
pub(crate) use request::WorkerRequest;

use crate::core::{Done, Outcome};
use crate::files::Files;
use crate::lanes::Lanes;
use crate::policy::Confinement;
use crate::requests::{file_work, socket_work};
use crate::transfers::Transfers;

/// The hidden subcommand of `lariatd` that runs a worker. Its arguments are the user id, the group id and a
/// list of all groups.
pub const SUBCOMMAND: &str = "work";

/// The longest encoded [`Begin`], in bytes.
const MAX_BEGIN: usize = 16 * 1024;

/// The first message to a worker, after its length as `u32`. The request's frame follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begin {
    /// The key that made the request.
    key: KeyId,
    /// The user's id.
    uid: u32,
    /// The user's home.
    home: Vec<u8>,
    /// The directory that the work is confined to.
    root: Option<Confinement>,
    /// Bytes that the request may keep in memory.
    memory: u64,
}

/// Runs a worker. Must be called before anything is opened or any thread is started.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The agent reports the failure; the worker has no other output.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), LinkError> {
    confine::confine(arguments)?;
    // Without it, a file beyond the limit ends the process with SIGXFSZ; the work can go on all the same.
    let _ = file_size_limit::report_as_error();
    named::refuse_magic_links();
    let mut socket = UnixStream::from(take_stdin()?);
    let Begin { key, uid, home, root, memory } = begin(&mut socket)?;
    socket.set_nonblocking(true)?;
    let home = PathBuf::from(OsStr::from_bytes(&home));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let memory = Memory::of(Capped::new(usize::try_from(memory).unwrap_or(usize::MAX)));
        let socket = tokio::net::UnixStream::from_std(socket)?;
        let mut link = Link::with_memory(socket, 1, memory);
        let transfers = Transfers::default();
        let stop = heed_signals(&transfers)?;
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        // Nobody looks how far it has come: the agent counts what it passes on.
        let (lanes, meter) = (Lanes::default(), Arc::default());
        let files = |stop| Files { key, uid, home, root, transfers, lanes, meter, stop };
        let served = match WorkerRequest::decode(frame.kind, link.reader.payload())? {
            WorkerRequest::File(request) => {
                file_work::serve(&mut link, request, &files(stop)).await
            }
            WorkerRequest::Look(request) => Ok(match files(stop).check_way(&request) {
                Ok(()) => Outcome::Done(Done::default()),
                Err(failure) => Outcome::Failed(failure),
            }),
            WorkerRequest::Socket(connect) => {
                socket_work::serve(&mut link, &connect.path, None, stopped(stop)).await
            }
        };
        let failure = match served {
            Ok(Outcome::Failed(failure)) => Some(failure),
            Ok(_) => None,
            Err(LinkError::Memory) if !link.writer.is_broken() => Some(NoMemory.into()),
            Err(error) => return Err(error),
        };
        if let Some(failure) = failure {
            link.outbox().post(&failure)?;
        }
        link.writer.finish().await
    })
}

/// Waits until the agent asks the worker to end.
async fn stopped(mut stop: watch::Receiver<Option<Cause>>) -> Outcome {
    let cause = stop.wait_for(Option::is_some).await.map(|cause| cause.clone());
    let cause = cause.ok().flatten().unwrap_or(Cause::Stopping);
    Outcome::Failed(Failure::request(cause))
}

/// Moves the socket off stdin, so that stdin is an ordinary file again.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}

fn begin(socket: &mut UnixStream) -> Result<Begin, LinkError> {
    let mut len = [0; 4];
    socket.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_BEGIN {
        return Err(LinkError::Misbehaved("its first word is too long"));
    }
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes)?;
    Ok(codec::decode(&bytes)?)
}

/// Handles the signals by which the agent ends a worker: SIGTERM when the session is to end, SIGUSR1 when a
/// newer request has taken over.
fn heed_signals(transfers: &Transfers) -> io::Result<watch::Receiver<Option<Cause>>> {
    let (stop, stopped) = watch::channel(None);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut superseded = signal(SignalKind::user_defined1())?;
    let transfers = transfers.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => { stop.send_replace(Some(Cause::Stopping)); }
                _ = superseded.recv() => transfers.supersede(),
            };
        }
    });
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_has_these_bytes_and_no_longer_one_is_read() {
        let root = Some(Confinement { root: "/srv".parse().unwrap(), at: "k:1".to_owned() });
        let (key, home) = (KeyId([7; 16]), b"/home".to_vec());
        let begin = Begin { key, uid: 65_534, home, root, memory: 3 };
        let bytes = codec::encode(&begin).unwrap();
        let home = [&[5, 0, 0, 0, 0, 0, 0, 0][..], b"/home"].concat();
        let root = [&[1, 4, 0, 0, 0, 0, 0, 0, 0][..], b"/srv"].concat();
        let root = [&root, &[3, 0, 0, 0, 0, 0, 0, 0][..], b"k:1"].concat();
        let expected = [&[7; 16][..], &[0xfe, 0xff, 0, 0], &home, &root, &[3, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(bytes, expected.concat());
        let read = |len: u32, bytes: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            io::Write::write_all(&mut &ours, &[&len.to_le_bytes()[..], bytes].concat()).unwrap();
            drop(ours);
            super::begin(&mut theirs)
        };
        assert_eq!(read(bytes.len().try_into().unwrap(), &bytes).unwrap(), begin);
        assert!(read(u32::MAX, &bytes).is_err());
        assert!(read(40, &bytes[..30]).is_err(), "cut");
    }
}
