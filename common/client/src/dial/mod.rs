//! Makes connections to addresses. All other code works over any kind of stream.

mod bare;
mod http_proxy;
mod tcp;

use std::io;
use std::pin::Pin;

use lariat_base::os_error::io_error;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};

use crate::peer::Peer;
pub use http_proxy::{BadProxy, HttpProxy};
pub use tcp::Tcp;

/// A connection's bytes, whatever carries them.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Ends what protects the bytes, in order and at both ends, and returns the connection below. What protects
    /// nothing returns itself.
    fn bare(self: Box<Self>) -> Baring;

    /// The TCP connection, if that is what this is and nothing was read from it that is not read yet.
    fn into_tcp(self: Box<Self>) -> Option<TcpStream> {
        None
    }
}

/// A connection that is being laid bare.
pub type Baring = Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send>>;

impl Stream for TcpStream {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok(self as BoxStream) })
    }

    fn into_tcp(self: Box<Self>) -> Option<TcpStream> {
        Some(*self)
    }
}

impl Stream for UnixStream {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok(self as BoxStream) })
    }
}

impl Stream for DuplexStream {
    fn bare(self: Box<Self>) -> Baring {
        Box::pin(async { Ok(self as BoxStream) })
    }
}

/// A connection that a session uses: one virtual call for a batch of records.
pub type BoxStream = Box<dyn Stream>;

/// A connection in the making.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<BoxStream, DialError>> + 'a>>;

/// Makes connections to agents. The caller sets the deadline and cancels by dropping the future.
pub trait Dial: Send + Sync {
    /// Connects to a host.
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a>;

    /// Whether the last connection was one of several that the host has offered, so that another one may be good where it
    /// is not.
    fn has_others(&self) -> bool {
        false
    }

    /// The gateways on the way, for messages; `None` if there are none.
    fn via(&self) -> Option<String> {
        None
    }
}

/// Why no connection to an address could be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host has no address: it dials out to gateways.
    #[error("it has no address; see `via` in hosts.toml, and -J")]
    NoAddress,
    /// The address's name could not be resolved.
    #[error("look up the address: {}; see hosts.toml", lookup_error(.0))]
    Resolve(#[source] io::Error),
    /// The connection was refused, or failed.
    #[error("connect: {}{}", io_error(.0), connect_hint(.0))]
    Connect(#[source] io::Error),
    /// The agent on this machine does not listen on its socket.
    #[error("connect: {}{}", io_error(.0), socket_hint(.0))]
    Socket(#[source] io::Error),
    /// The proxy of the network did not connect.
    #[error("proxy {proxy}: {why}")]
    Proxy {
        /// Its address.
        proxy: String,
        /// What it said, or what failed.
        why: String,
    },
    /// A gateway on the way could not be reached, refused this controller, or did not connect any further.
    #[error("{source}")]
    Leg {
        /// What failed there.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether it was refused, so that the same attempt fails again.
        is_refusal: bool,
    },
}

/// The resolver's message, without what it says of every failure.
fn lookup_error(error: &io::Error) -> String {
    let text = io_error(error);
    match text.strip_prefix("failed to lookup address information: ") {
        Some(why) => why.to_lowercase(),
        None => text,
    }
}

fn connect_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is lariatd running there?",
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => {
            "; is the host up, does a firewall let it through, and is the address in hosts.toml right?"
        }
        _ => "",
    }
}

fn socket_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "; is lariatd running, with local = [...] in its agent.toml?"
        }
        io::ErrorKind::PermissionDenied => "; only root and the agent's own user may use it",
        _ => "",
    }
}
