//! Constraints on messages that their types can't ensure.

use crate::limits::{
    MAX_CERTIFICATE, MAX_ENTRIES, MAX_GLOB, MAX_NAME, MAX_NOTE, MAX_PATH, MAX_RULES, MAX_WORDS,
    MAX_XATTRS,
};

/// Why a message that decodes is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A path is empty where it may not be, too long, or contains a NUL byte.
    #[error("a path is empty, over {MAX_PATH} bytes or contains a NUL byte")]
    Path,
    /// A name is not a single component.
    #[error("a file's name is empty, \".\", \"..\", over {MAX_NAME} bytes or contains '/' or NUL")]
    Name,
    /// A time's nanoseconds are a second or more.
    #[error("a time's nanoseconds are out of range")]
    Time,
    /// A user's name is empty, too long, or contains a NUL byte.
    #[error("no user can have this name")]
    User,
    /// An owner or group has the id 2^32-1, which no user or group can have.
    #[error("a file's owner or group has a number that nobody can have")]
    Owner,
    /// A key's name is empty, too long, or contains a NUL byte.
    #[error("no key can have this name")]
    Key,
    /// A mode has bits that do not exist.
    #[error("a file's mode has bits that do not exist")]
    Mode,
    /// An entry of an ACL has invalid rights, an invalid id or an invalid name.
    #[error("an entry of an ACL has rights or a name that can't be")]
    Acl,
    /// A file that is written in place can't also be kept as a backup.
    #[error("a file that is written in place can't be kept as a backup")]
    InPlace,
    /// Extended attributes are too large, or one has an invalid name.
    #[error("extended attributes are over {MAX_XATTRS} bytes, or have names that can't be")]
    Xattrs,
    /// A size exceeds what a file can have.
    #[error("a file's size is out of range")]
    Size,
    /// Ranges overlap, go past the end, or are too many.
    #[error("the chunks that the receiver has are out of order or past the file's end")]
    Ranges,
    /// A certificate or a signing request is too long.
    #[error("a certificate or a signing request over {MAX_CERTIFICATE} bytes")]
    Certificate,
    /// A host is not a name or an address, or a port is 0.
    #[error("this is no address and port to connect to")]
    Address,
    /// What is to be listened at is no IP address.
    #[error("this is no IP address to listen at")]
    ListenAddress,
    /// A lane's number is not one of those that a transfer can have.
    #[error("a transfer has lanes 1 to 7")]
    Lane,
    /// The root of a tree is not a directory, or has a name.
    #[error("a tree's root is a directory without a name")]
    Root,
    /// A link's target is empty, too long, or contains a NUL byte.
    #[error("a link's target is empty, over {MAX_PATH} bytes or contains a NUL byte")]
    LinkTarget,
    /// Too many entries in one message.
    #[error("more than {MAX_ENTRIES} entries in one message")]
    TooManyEntries,
    /// Too many rules, or one too long.
    #[error("more than {MAX_RULES} rules, or a glob over {MAX_GLOB} bytes")]
    Rules,
    /// The command names no program.
    #[error("the command is empty")]
    EmptyCommand,
    /// A word, variable or directory contains a NUL byte.
    #[error("a NUL byte in the command, its environment or its directory")]
    Nul,
    /// A variable's name is empty or contains `=`.
    #[error("a variable's name is empty or contains '='")]
    Variable,
    /// More than [`MAX_WORDS`] words or variables.
    #[error("over {MAX_WORDS} words or variables")]
    TooManyWords,
    /// A terminal's type is empty, too long, or contains a NUL byte.
    #[error("no terminal can be of this kind")]
    Terminal,
    /// A text is not the beginning of a job's id.
    #[error("a job's id begins with at most 32 hexadecimal digits")]
    JobPrefix,
    /// A signal's number does not exist on Linux.
    #[error("signals are 1 to 64")]
    Signal,
    /// A key's rules are too many or too long, contain control characters, or have an unknown verb.
    #[error(
        "a key's rules are too many or too long, contain control characters, or have a verb that this version does not know"
    )]
    KeyRules,
    /// A key is named by nothing, or by more than a label or an id can be.
    #[error("no key has this label or id")]
    KeyName,
    /// A note is empty, too long, or has control characters.
    #[error("a note is one line of at most {MAX_NOTE} bytes, without control characters")]
    Note,
}

/// Checks the name of the user that a request asks to act as, if any. Only the host can tell whether the user
/// exists; no user database holds a longer name.
pub(super) fn check_user(user: Option<&str>) -> Result<(), Invalid> {
    let may_be =
        user.is_none_or(|name| (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0'));
    if may_be { Ok(()) } else { Err(Invalid::User) }
}
