//! Messages of `clean`, which removes the key's abandoned temporary files below a directory.
//!
//! [`Clean`] is answered by any number of [`Missed`](super::tree::Missed) and one [`Cleaned`], or by Failed.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_PATH;
use crate::protocol::invalid::{Invalid, check_user};

/// Removes the key's temporary files below a directory, except those that a transfer is using.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// The directory, relative to the user's home. Empty means the home.
    pub path: Vec<u8>,
    /// Only counts the files.
    pub dry_run: bool,
    /// The user that the work is done as and whose files are removed, if not the agent's own.
    pub user: Option<String>,
}

impl Clean {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.path.len() > MAX_PATH || self.path.contains(&0) {
            return Err(Invalid::Path);
        }
        check_user(self.user.as_deref())
    }
}

/// What was removed, or would be in a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// Number of files, without their journals.
    pub files: u64,
    /// Bytes of these files.
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
