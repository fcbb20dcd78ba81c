//! Words of `clean`: which of the key's abandoned temporary files there are below a directory.
//!
//! [`Clean`] is answered by any number of [`Missed`](super::tree::Missed) and one [`Cleaned`], or by Failed.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_PATH;
use crate::protocol::invalid::{Invalid, check_user};

/// Removes the key's temporary files below a directory that nobody works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// The directory; relative to the user's home, which is also what empty means.
    pub path: Vec<u8>,
    /// Only counts them.
    pub dry_run: bool,
    /// Whose rights it is done with, and whose files they are, if not the agent's own user's.
    pub user: Option<String>,
}

impl Clean {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.path.len() > MAX_PATH || self.path.contains(&0) {
            return Err(Invalid::Path);
        }
        check_user(self.user.as_deref())
    }
}

/// What was removed, or in a dry run would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// Files, journals not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_users_that_can_t_be_are_refused() {
        let clean = |path: &[u8], user: Option<&str>| {
            let user = user.map(ToOwned::to_owned);
            Clean { path: path.to_vec(), dry_run: false, user }.check()
        };
        assert_eq!(clean(b"", None), Ok(()));
        assert_eq!(clean(b"/srv", Some("www")), Ok(()));
        assert_eq!(clean(b"a\0", None), Err(Invalid::Path));
        assert_eq!(clean(&vec![b'a'; MAX_PATH + 1], None), Err(Invalid::Path));
        assert_eq!(clean(b"", Some("")), Err(Invalid::User));
    }
}
