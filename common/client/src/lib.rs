//! A client of lariat's agents, for the `lariat` command and for any other program.
//!
//! A [`Client`] holds a controller's credentials and trust; a [`HostHandle`] is one of its hosts, and connects
//! to it repeatedly. [`run`] follows a command to its end and starts it at most once; [`transfer`] moves files
//! and directories in as many attempts as necessary. Errors are typed, nothing is printed, and no file of a
//! fleet is read: the embedding program provides the key, the CA's certificate and what enrollment recorded of
//! each host ([`Peer`]).

mod address;
mod audit;
mod backoff;
mod broken;
mod client;
mod connect;
mod dial;
pub mod forward;
mod host;
mod key_source;
mod note;
mod outage;
pub mod parking;
mod peer;
mod retry;
pub mod run;
pub mod status;
pub mod transfer;
mod watch;
mod witness;

pub use address::{Address, BadAddress, DEFAULT_PORT};
pub use audit::AuditPart;
pub use backoff::{Flapping, is_broken_connection, may_come_back};
pub use broken::Broken;
pub use client::Client;
pub use connect::{BadTrust, Cause, ConnectError, Rejected, Session, Stage, Trust, Unproved};
pub use dial::{BadProxy, Baring, BoxStream, Dial, DialError, Dialing, HttpProxy, Stream, Tcp};
pub use host::HostHandle;
pub use key_source::KeySource;
pub use lariat_engine::Progress;
pub use outage::{Lost, Outage, OutageObserver};
pub use peer::Peer;
pub use retry::{AskError, Retry};
pub use watch::Watched;
pub use witness::{Shown, Witness};
