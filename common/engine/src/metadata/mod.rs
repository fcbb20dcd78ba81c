//! What a file or directory is beyond its content: mode, owner, times, extended attributes and ACLs.

pub mod account;
pub(crate) mod acl;
pub(crate) mod attributes;
pub(crate) mod disk_times;
pub(crate) mod end_state;
pub(crate) mod kind;
mod overrides;
pub(crate) mod owners;
pub(crate) mod replaced;
pub(crate) mod subject;
pub(crate) mod translate;
pub(crate) mod xattrs;

pub use overrides::ResolvedOverrides;
