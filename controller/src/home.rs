//! The controller's home directory: the CA, the keys and the inventory.
//!
//! Everything in it is private (0700, 0600) and refused if other users can access it; of files without secrets, if they
//! can change them. A fleet exists if and only if `hosts.toml` does: it is created last.

use std::fs::File;
use std::path::{Path, PathBuf};

use lariat_base::os_error::io_error;
use lariat_base::private;
use lariat_certs::ca::Ca;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::CliError;

/// The inventory.
pub(crate) const HOSTS: &str = "hosts.toml";
/// The CA's certificate.
pub(crate) const CA_CERTIFICATE: &str = "ca.pem";
/// The CA's private key.
pub(crate) const CA_KEY: &str = "ca.key";
/// The directory of the controller's keys.
pub(crate) const KEYS: &str = "keys";

/// The directory of what hosts have shown of their audits.
pub(crate) const SEEN: &str = "seen";

/// The fleet's directory.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// A lock that keeps other processes from changing the fleet until it is dropped.
pub(crate) struct HomeLock {
    _directory: File,
}

impl Home {
    /// `given`, else `$LARIAT_HOME`, `$XDG_CONFIG_HOME/lariat`, `~/.config/lariat`.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self, CliError> {
        let variable = |name| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| !path.as_os_str().is_empty())
        };
        if let Some(path) = given.map(ToOwned::to_owned).or_else(|| variable("LARIAT_HOME")) {
            return Ok(Self(path));
        }
        // The XDG specification says to ignore relative paths.
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .ok_or_else(|| {
                CliError::new("no directory for the fleet: neither LARIAT_HOME nor HOME is set")
                    .hint("lariat --home DIR ...")
            })?;
        Ok(Self(config.join("lariat")))
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The inventory's file.
    pub(crate) fn hosts_file(&self) -> PathBuf {
        self.0.join(HOSTS)
    }

    /// The directory of the controller's keys.
    pub(crate) fn keys_directory(&self) -> PathBuf {
        self.0.join(KEYS)
    }

    /// The directory of what hosts have shown of their audits.
    pub(crate) fn seen_directory(&self) -> PathBuf {
        self.0.join(SEEN)
    }

    /// Whether the directory contains a fleet. An unreadable directory is an error.
    pub(crate) fn has_fleet(&self) -> Result<bool, CliError> {
        let file = self.hosts_file();
        file.try_exists().map_err(|e| {
            let error = CliError::new(format!("open {}: {}", file.display(), io_error(&e)));
            if e.kind() != std::io::ErrorKind::PermissionDenied {
                return error;
            }
            error
                .next("run it as the fleet's owner, or name another fleet by --home or LARIAT_HOME")
        })
    }

    /// Fails if there is no fleet, or if other users can access it.
    pub(crate) fn require_fleet(&self) -> Result<(), CliError> {
        if !self.has_fleet()? {
            let error = CliError::new(format!("no fleet in {}", self.0.display()));
            return Err(error.hint("lariat init"));
        }
        Ok(private::check_directory(&self.0)?)
    }

    /// Loads the CA with its key, to issue certificates.
    pub(crate) fn ca(&self) -> Result<Ca, CliError> {
        let key = private::read(&self.0.join(CA_KEY)).map_err(|error| {
            let is_missing = error.io_kind() == Some(std::io::ErrorKind::NotFound);
            let error = CliError::from(error);
            if is_missing {
                error.next("only the machine that made the fleet has it")
            } else {
                error
            }
        })?;
        let path = self.0.join(CA_CERTIFICATE);
        let certificate = private::read_public(&path)?;
        Ca::load(&certificate, &key).map_err(|e| CliError::from(e).during(path.display()))
    }

    /// Loads the CA's certificate, which hosts' certificates are verified with.
    pub(crate) fn ca_certificate(&self) -> Result<CertificateDer<'static>, CliError> {
        let path = self.0.join(CA_CERTIFICATE);
        let text = private::read_public(&path)?;
        CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|_| CliError::new(format!("{}: no certificate in PEM form", path.display())))
    }

    /// The CA's certificate as it is in its file.
    pub(crate) fn ca_pem(&self) -> Result<String, CliError> {
        Ok(private::read_public(&self.0.join(CA_CERTIFICATE))?.to_string())
    }

    /// Waits for the lock that protects changes of the fleet.
    pub(crate) fn lock(&self) -> Result<HomeLock, CliError> {
        let failed = |error: std::io::Error| {
            CliError::new(format!("lock {}: {}", self.0.display(), io_error(&error)))
        };
        let directory = File::open(&self.0).map_err(failed)?;
        loop {
            match rustix::fs::flock(&directory, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(HomeLock { _directory: directory }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

#[cfg(test)]
impl Home {
    /// A home without files, in a directory that goes with the first value.
    pub(crate) fn temporary() -> (tempfile::TempDir, Self) {
        let directory = tempfile::tempdir().unwrap();
        let home = Self(directory.path().join("home"));
        private::create_directory(home.path()).unwrap();
        (directory, home)
    }
}
