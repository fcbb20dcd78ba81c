//! From an address to a TCP connection: each address that a name has, in turn.
//!
//! An address that swallows everything may not use up the time of those behind it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::Cause;
use crate::address::Address;

/// Connects to an address. The caller's deadline covers it; `limit` is only shared out
/// among several addresses.
pub(super) async fn connect(address: &Address, limit: Duration) -> Result<TcpStream, Cause> {
    let began = Instant::now();
    let addresses = resolve(address).await?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().enumerate() {
        let waiting = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = limit.saturating_sub(began.elapsed()) / waiting;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(Cause::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(Cause::Connect(last))
}

/// An address that is one already costs no look-up and no thread.
async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Cause> {
    let (host, port) = (address.host(), address.port());
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await.map_err(Cause::Resolve)?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_and_the_last_cause_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where it is also ::1, nobody listens there.
        assert!(
            connect(&format!("localhost:{port}").parse().unwrap(), Duration::from_secs(5))
                .await
                .is_ok()
        );
        drop(listener);
        let refused =
            connect(&format!("127.0.0.1:{port}").parse().unwrap(), Duration::from_secs(5)).await;
        assert!(
            matches!(refused, Err(Cause::Connect(e)) if e.kind() == io::ErrorKind::ConnectionRefused)
        );
    }
}
