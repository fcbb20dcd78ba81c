//! What an agent shows of itself over HTTP on its own host: metrics, a page, and the status as an object.
//!
//! It is read by whoever can connect: on TCP every process of the host, and through a browser's user every page that
//! this one visits. So nothing there tells of keys, commands or paths, only `GET` and `HEAD` are served, and only for
//! the host's own names. Over a unix socket, which only its owner can open, everything is shown.

mod metrics;
mod page;
mod serve;
mod target;

pub(crate) use serve::{StatusListener, start};
