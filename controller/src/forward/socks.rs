//! The host's end of SOCKS5 (RFC 1928), as far as clients of `-D` need it: CONNECT, without authentication.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::spec::Place;

const VERSION: u8 = 5;

/// The method without authentication.
const NO_AUTHENTICATION: u8 = 0;

/// None of the client's methods.
const NO_METHOD: u8 = 0xff;

const CONNECT: u8 = 1;

/// An answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reply {
    Connected = 0,
    Failed = 1,
    NotPermitted = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    NoSuchCommand = 7,
    NoSuchAddress = 8,
}

/// Why a client gets no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadClient {
    /// The connection failed, or ended too soon.
    #[error("{}", lariat_base::os_error::io_error(.0))]
    Io(#[from] io::Error),
    /// It does not speak SOCKS5.
    #[error("it speaks no SOCKS5 (version {0}); a browser has to be told the version")]
    Version(u8),
    /// It wants to authenticate itself.
    #[error("it wants to authenticate itself")]
    Method,
    /// It asks for something else than a connection.
    #[error("it asks for more than a connection")]
    Command,
    /// What it wants to connect to is no address.
    #[error("it asks for an address that can't be")]
    Address,
}

/// Reads what a client wants to connect to. A name is the host's to resolve. The client is answered unless it is told
/// [`Reply`] later.
pub(super) async fn asked<S>(client: &mut S) -> Result<Place, BadClient>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let [version, count] = bytes(client).await?;
    if version != VERSION {
        return Err(BadClient::Version(version));
    }
    let methods = some(client, count).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        client.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(BadClient::Method);
    }
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    client.flush().await?;
    let [version, command, _, kind] = bytes(client).await?;
    if version != VERSION {
        return Err(BadClient::Version(version));
    }
    let host = match kind {
        1 => Ipv4Addr::from(bytes::<4, _>(client).await?).to_string(),
        3 => {
            let [len] = bytes(client).await?;
            String::from_utf8(some(client, len).await?).unwrap_or_default()
        }
        4 => Ipv6Addr::from(bytes::<16, _>(client).await?).to_string(),
        _ => {
            reply(client, Reply::NoSuchAddress).await?;
            return Err(BadClient::Address);
        }
    };
    let port = u16::from_be_bytes(bytes(client).await?);
    if command != CONNECT {
        reply(client, Reply::NoSuchCommand).await?;
        return Err(BadClient::Command);
    }
    let place = Place::Tcp { host, port };
    if place.is_valid() {
        return Ok(place);
    }
    reply(client, Reply::Failed).await?;
    Err(BadClient::Address)
}

/// Answers the client's request. Which address it has at the host is not told.
pub(super) async fn reply<S: AsyncWrite + Unpin>(client: &mut S, reply: Reply) -> io::Result<()> {
    client.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    client.flush().await
}

async fn bytes<const N: usize, S: AsyncRead + Unpin>(client: &mut S) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn some<S: AsyncRead + Unpin>(client: &mut S, len: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(len)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    /// What a client asks for that sends these bytes, and what it is answered.
    fn said(sent: &[u8]) -> (Result<Place, BadClient>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, mut server) = duplex(1024);
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();
            let asked = asked(&mut server).await;
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            (asked, answer)
        })
    }

    fn answered(reply: Reply) -> Vec<u8> {
        [&[5, 0, 5, reply as u8, 0, 1][..], &[0; 6]].concat()
    }

    #[test]
    fn a_client_asks_for_an_address_or_a_name() {
        for (request, place) in [
            (&[5, 1, 0, 1, 10, 0, 0, 5, 0, 22][..], "10.0.0.5:22"),
            (b"\x05\x01\x00\x03\x02db\x15\x38", "db:5432"),
            (
                &[5, 1, 0, 4, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 80],
                "[fd00::5]:80",
            ),
        ] {
            let (asked, answer) = said(&[&[5, 2, 2, 0], request].concat());
            assert_eq!((asked.unwrap().to_string().as_str(), answer), (place, vec![5, 0]));
        }
    }

    #[test]
    fn whatever_else_it_asks_it_is_answered_and_gets_nothing() {
        let (asked, answer) = said(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00");
        assert!(matches!(asked, Err(BadClient::Version(4))) && answer.is_empty());
        let (asked, answer) = said(&[5, 1, 2]);
        assert!(matches!(asked, Err(BadClient::Method)) && answer == [5, 0xff]);
        for (request, reply) in [
            (&[5, 2, 0, 1, 10, 0, 0, 5, 0, 22][..], Reply::NoSuchCommand),
            (&[5, 1, 0, 9], Reply::NoSuchAddress),
            (&[5, 1, 0, 1, 10, 0, 0, 5, 0, 0], Reply::Failed),
            (&[5, 1, 0, 3, 0, 0, 22], Reply::Failed),
            (b"\x05\x01\x00\x03\x02-x\x00\x16", Reply::Failed),
            (b"\x05\x01\x00\x03\x02\xff\xff\x00\x16", Reply::Failed),
        ] {
            let (asked, answer) = said(&[&[5, 1, 0], request].concat());
            assert!(asked.is_err() && answer == answered(reply), "{request:?} {answer:?}");
        }
        for cut in 0..13 {
            let whole = [5, 1, 0, 5, 1, 0, 1, 10, 0, 0, 5, 0, 22];
            assert!(matches!(said(&whole[..cut]).0, Err(BadClient::Io(_))), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_place_or_an_error(sent in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = said(&[&[5, 1, 0, 5, 1, 0][..], &sent].concat());
        }
    }
}
