//! From an address to a TCP connection, by RFC 8305 ("Happy Eyeballs"): the addresses of a name are tried
//! in turn, each a little after the one before, and the first that answers is taken.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{BoxStream, Dial, DialError, Dialing};
use crate::address::Address;
use crate::peer::Peer;

/// How long an address may take before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a> {
        Box::pin(async {
            let address = peer.address.as_ref().ok_or(DialError::NoAddress)?;
            let stream: BoxStream = Box::new(connect(address).await?);
            Ok(stream)
        })
    }
}

pub(super) async fn connect(address: &Address) -> Result<TcpStream, DialError> {
    let addresses = resolve(address).await?;
    let stream = match addresses.as_slice() {
        [only] => TcpStream::connect(only).await,
        _ => race(interleaved(addresses), TcpStream::connect).await,
    };
    let stream = stream.map_err(DialError::Connect)?;
    stream.set_nodelay(true).map_err(DialError::Connect)?;
    ask_for_bbr(&stream);
    Ok(stream)
}

/// Selects BBR, which does not interpret packet loss as congestion. A kernel without it keeps its default. On
/// loopback nothing is lost, and BBR's pacing would only cost.
fn ask_for_bbr(stream: &TcpStream) {
    if stream.peer_addr().is_ok_and(|peer| !peer.ip().to_canonical().is_loopback()) {
        let _ = rustix::net::sockopt::set_tcp_congestion(stream, "bbr");
    }
}

/// Starts one attempt after another and returns the first that succeeds, or the last failure. The others
/// are cancelled.
async fn race<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(connect(address));
        } else if attempts.is_empty() {
            return Err(last);
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(error) => last = io::Error::other(error),
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// The families take turns, beginning with the one that the resolver prefers (RFC 8305, section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let count = addresses.len();
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(preferred.next());
        all.extend(others.next());
    }
    all
}

/// An IP address costs no look-up and no thread.
async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = (address.host(), address.port());
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await.map_err(DialError::Resolve)?.collect())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_and_the_last_error_is_returned() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // If localhost is also ::1, that address refuses the connection.
        assert!(connect(&format!("localhost:{port}").parse().unwrap()).await.is_ok());
        drop(listener);
        let refused = connect(&format!("127.0.0.1:{port}").parse().unwrap()).await;
        assert!(
            matches!(refused, Err(DialError::Connect(e)) if e.kind() == io::ErrorKind::ConnectionRefused)
        );
    }

    /// Addresses `1..` of the families in `families`, as `6` and `4`.
    fn addresses(families: &str) -> Vec<SocketAddr> {
        let address = |(number, family): (usize, char)| match family {
            '6' => format!("[2001:db8::{}]:1", number + 1),
            _ => format!("192.0.2.{}:1", number + 1),
        };
        families.chars().enumerate().map(address).map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let families = |text| -> String {
            let all = interleaved(addresses(text));
            assert_eq!(all.len(), text.len());
            all.iter().map(|address| if address.is_ipv6() { '6' } else { '4' }).collect()
        };
        for (resolved, tried) in
            [("", ""), ("66644", "64646"), ("44446", "46444"), ("64", "64"), ("444", "444")]
        {
            assert_eq!(families(resolved), tried);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_everything_costs_a_quarter_of_a_second() {
        let all = addresses("66464");
        let good = *all.last().unwrap();
        let connect = move |address: SocketAddr| async move {
            if address != good {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(20)).await;
            Ok(address)
        };
        let began = Instant::now();
        assert_eq!(race(interleaved(all), connect).await.unwrap(), good);
        // It is the fourth address.
        assert_eq!(began.elapsed(), ATTEMPT_DELAY * 3 + Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_wins_over_one_that_is_slower_and_a_failure_costs_no_wait() {
        let began = Instant::now();
        let slow = |address: SocketAddr| async move {
            sleep(Duration::from_millis(if address.is_ipv6() { 300 } else { 100 })).await;
            Ok(address.is_ipv6())
        };
        assert!(race(addresses("64"), slow).await.unwrap());
        assert_eq!(began.elapsed(), Duration::from_millis(300));

        let began = Instant::now();
        let failing = |address: SocketAddr| async move {
            if address.is_ipv6() {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            Ok(())
        };
        race(addresses("6664"), failing).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let none: io::Result<()> = race(addresses("66"), failing).await;
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
    }
}
