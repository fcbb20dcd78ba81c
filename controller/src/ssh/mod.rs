//! The operator's own ssh: where it reaches a host, how it is started, and connections through a bastion.

mod bastion;
mod place;
mod program;
mod proxy;

pub(crate) use bastion::Bastions;
pub(crate) use place::Place;
pub(crate) use program::Ssh;
pub(crate) use proxy::{Proxy, ProxyDial};
