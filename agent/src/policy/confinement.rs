//! The directory that a request's file work is confined to.

use lariat_base::escape::escape;
use lariat_wire::protocol::request::FileRequest;
use serde::{Deserialize, Serialize};

use super::denial::{Denial, Rule};
use super::path::Root;

/// The directory that a request's file work is confined to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The directory.
    pub root: Root,
    /// Where the rule is, for messages: `keyring.toml:14`.
    pub at: String,
}

/// What is at a path, or on the way to it, that no path below a root may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A symbolic link.
    Link,
    /// A file that has other names, which may be outside.
    OtherNames,
}

impl Confinement {
    /// The denial of a request that an obstacle at this path stands in the way of.
    pub fn denial(&self, request: &FileRequest, obstacle: Obstacle, path: &[u8]) -> Denial {
        let (at, path) = (&self.at, escape(path));
        let why = match obstacle {
            Obstacle::Link => format!("{at} leads through no symbolic link, and {path} is one"),
            Obstacle::OtherNames => {
                format!("{at} has no file with more than one name (hard link), and {path} is one")
            }
        };
        let rule = if matches!(request, FileRequest::Pull(_)) { Rule::Pull } else { Rule::Push };
        Denial { verb: request.verb(), rule, why }
    }
}
