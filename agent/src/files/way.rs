//! What stands in the way of a request's path below a root.
//!
//! Whatever is opened below a root passes no link: the kernel sees to that at each step. This look before the work, and
//! for `can`, tells that it is the rule that forbids it.

use std::os::unix::ffi::OsStrExt;

use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;
use rustix::io::Errno;

use super::Files;
use crate::policy::Obstacle;

/// The path of a request that must pass no link.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// The whole path.
    To(&'a [u8]),
    /// The whole path, and the file that is there is read.
    ToSource(&'a [u8]),
    /// Up to the name that a file gets, which it may take from a link.
    ToName(&'a [u8]),
}

impl Files {
    /// Refuses a request whose path leads through a link, or to a file that has other names, if there is a root.
    pub(crate) fn check_way(&self, request: &FileRequest) -> Result<(), Failure> {
        let (Some(confinement), Some(way)) = (&self.root, way(request)) else { return Ok(()) };
        let denied =
            |obstacle, path: &[u8]| Failure::from(confinement.denial(request, obstacle, path));
        let base = self.base().map_err(|failure| match failure.cause {
            // A root is opened through no link either.
            Cause::Os(errno) if errno == Errno::LOOP.raw_os_error() => {
                denied(Obstacle::Link, confinement.root.as_bytes())
            }
            _ => failure,
        })?;
        let (Way::To(path) | Way::ToSource(path) | Way::ToName(path)) = way;
        let path = self.below(path.to_vec())?;
        let end = match way {
            Way::To(_) | Way::ToSource(_) => path.len(),
            Way::ToName(_) => path.iter().rposition(|&byte| byte == b'/').unwrap_or_default(),
        };
        if let Some(link) = base.link_on(&path[..end]) {
            return Err(denied(Obstacle::Link, link.as_os_str().as_bytes()));
        }
        if matches!(way, Way::ToSource(_)) && base.is_linked(&path) {
            return Err(denied(Obstacle::OtherNames, base.shown(&path).as_os_str().as_bytes()));
        }
        Ok(())
    }
}

fn way(request: &FileRequest) -> Option<Way<'_>> {
    match request {
        FileRequest::Push(push) => Some(Way::ToName(&push.dest.path)),
        FileRequest::PushTree(push) => Some(Way::To(&push.dest.path)),
        FileRequest::Pull(pull) => Some(Way::ToSource(&pull.source)),
        FileRequest::Clean(clean) => Some(Way::To(&clean.path)),
        // It joins a transfer that has begun.
        FileRequest::Lane(_) => None,
    }
}
