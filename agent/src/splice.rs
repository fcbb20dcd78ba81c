//! Joins two connections without a copy through this process, by splice(2).

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncWriteExt, Interest};

use crate::transport::Movable;

/// Bytes that a pipe between the connections holds, if the system permits as many.
const PIPE: usize = 256 * 1024;

/// When the first probe is sent over a connection that is silent, and when each further one. No frame shows any more
/// that a peer is there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Probes without an answer after which a peer is taken to be gone.
const PROBES: u32 = 4;

/// Passes bytes between the connections until both directions have ended. `first` goes before what comes from `near`.
/// Adds the bytes that were passed on to `carried`.
pub(crate) async fn join(
    mut near: Movable,
    mut far: Movable,
    first: &[u8],
    carried: &AtomicU64,
) -> io::Result<()> {
    for end in [&near, &far] {
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        // A unix socket needs none.
        let _ = SockRef::from(&end.as_fd()).set_tcp_keepalive(&probes);
    }
    far.write_all(first).await?;
    near.flush().await?;
    carried.fetch_add(first.len() as u64, Ordering::Relaxed);
    tokio::try_join!(pass(&near, &far, carried), pass(&far, &near, carried))?;
    Ok(())
}

/// Passes one direction on to its end.
async fn pass(from: &Movable, to: &Movable, carried: &AtomicU64) -> io::Result<()> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // The default is enough to work.
    let _ = fcntl_setpipe_size(&into, PIPE);
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let read = || Ok(splice(from, None, &into, None, PIPE, flags)?);
        let mut left = from.ready(Interest::READABLE, read).await?;
        if left == 0 {
            return match rustix::net::shutdown(to, Shutdown::Write) {
                // The other end may be gone already.
                Err(rustix::io::Errno::NOTCONN) => Ok(()),
                other => Ok(other?),
            };
        }
        carried.fetch_add(left as u64, Ordering::Relaxed);
        while left > 0 {
            let write = || Ok(splice(&out, None, to, None, left, flags)?);
            left -= to.ready(Interest::WRITABLE, write).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, Movable) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (peer, Movable::Tcp(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn both_directions_carry_all_and_each_ends_by_itself() {
        let ((mut left, near), (mut right, far)) = (pair().await, pair().await);
        let carried = AtomicU64::new(0);
        let sent: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let there = async {
            left.write_all(&sent[5..]).await.unwrap();
            left.shutdown().await.unwrap();
            let mut back = Vec::new();
            left.read_to_end(&mut back).await.unwrap();
            back
        };
        let back = async {
            let mut came = Vec::new();
            right.read_to_end(&mut came).await.unwrap();
            right.write_all(&came).await.unwrap();
            right.shutdown().await.unwrap();
        };
        let (joined, back, ()) = tokio::join!(join(near, far, &sent[..5], &carried), there, back);
        joined.unwrap();
        assert!(back == sent);
        assert_eq!(carried.into_inner(), 2 * sent.len() as u64);
    }

    #[tokio::test]
    async fn an_end_that_breaks_ends_both() {
        let ((left, near), (mut right, far)) = (pair().await, pair().await);
        SockRef::from(&left).set_linger(Some(Duration::ZERO)).unwrap();
        drop(left);
        let carried = AtomicU64::new(0);
        let mut rest = Vec::new();
        let (joined, read) =
            tokio::join!(join(near, far, b"", &carried), right.read_to_end(&mut rest));
        assert_eq!(joined.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(read.unwrap(), 0);
    }
}
