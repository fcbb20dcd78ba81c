//! lariatd, the agent that runs on every host: its parts, for the thin binary and for tests.

pub mod check;
pub mod config;
pub mod identity;
pub mod keyring;
pub mod policy;

/// A folder for a test's private files.
#[cfg(test)]
fn private_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}
