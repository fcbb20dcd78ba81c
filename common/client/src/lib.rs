//! A client of lariat's agents, for the `lariat` command and for any other program.
//!
//! A [`Client`] holds what a controller proves itself with and what it trusts; a [`HostHandle`] is one host
//! of it, to which it connects as often as it takes. [`run`] follows a command to its end and starts it at
//! most once; [`transfer`] moves files and directories in as many attempts as it takes. Errors are typed, nothing is printed, and no file of a fleet is read: whoever embeds this
//! crate gives it the key, the CA's certificate and what enrollment recorded of each host ([`Peer`]).

mod address;
mod backoff;
mod broken;
mod client;
mod connect;
mod dial;
mod host;
mod outage;
mod retry;
pub mod run;
pub mod transfer;
mod watch;

pub use address::{Address, BadAddress, DEFAULT_PORT};
pub use backoff::{Flapping, is_broken_connection, may_come_back};
pub use broken::Broken;
pub use client::Client;
pub use connect::{BadTrust, Cause, ConnectError, Peer, Rejected, Session, Stage, Trust};
pub use dial::{BoxStream, Dial, DialError, Dialing, Stream, Tcp};
pub use host::HostHandle;
pub use lariat_engine::Progress;
pub use outage::{Lost, Outage, OutageObserver};
pub use retry::{AskError, Retry};
pub use watch::Watched;
