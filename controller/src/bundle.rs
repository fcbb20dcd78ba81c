//! A host's bundle: the files that its agent needs, with paths relative to their directory.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::os_error::io_error;
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_certs::issue::Leaf;
use lariat_client::Address;
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::Verb;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::inventory::Host;
use crate::key::ControllerKey;

/// The bundle's files; `park.key` is for a host that dials gateways. `agent.toml` is written last: without it the agent does
/// not start.
const FILES: [&str; 6] =
    ["host.pem", "host.key", "ca.pem", "keyring.toml", "park.key", "agent.toml"];

/// The contents of a bundle.
pub(crate) struct Bundle<'a> {
    /// The host's name.
    pub(crate) name: &'a HostName,
    /// Its inventory entry.
    pub(crate) host: &'a Host,
    /// Its enrollment id.
    pub(crate) enrolment: EnrolmentId,
    /// Its certificate and key.
    pub(crate) leaf: &'a Leaf,
    /// The controller key that may log in to it.
    pub(crate) key: &'a ControllerKey,
    /// The verifier of that key on this host.
    pub(crate) verifier: &'a Verifier,
    /// Other entries of its keyring, as they were before it was enrolled anew.
    pub(crate) entries: &'a str,
    /// The fleet's CA, PEM.
    pub(crate) ca: &'a str,
    /// What it dials gateways with, if it does.
    pub(crate) dials: Option<&'a Dials>,
}

/// What a host dials gateways with.
pub(crate) struct Dials {
    /// The gateways, each as `NAME=ADDR:PORT`.
    pub(crate) gateways: Vec<String>,
    /// The key that parks connections there.
    pub(crate) key: Secret,
}

/// How a host is reached, for its agent.toml.
pub(crate) struct Reach<'a> {
    /// Where its agent listens, if it does.
    pub(crate) listen: Option<String>,
    /// The gateways that it dials, each as `NAME=ADDR:PORT`.
    pub(crate) dial: &'a [String],
}

/// A bundle's directory, which is removed again unless it is kept.
#[must_use = "a bundle that is dropped is removed"]
pub(crate) struct Installed {
    directory: PathBuf,
    /// Whether the directory existed before, and must not be removed.
    was_there: bool,
    kept: bool,
}

/// Makes the directory of a bundle, which must be new or empty.
pub(crate) fn reserve(directory: &Path) -> Result<Installed, CliError> {
    let was_there = take(directory)?;
    if !was_there {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| failed(directory, &e))?;
    }
    Ok(Installed { directory: directory.to_owned(), was_there, kept: false })
}

fn failed(directory: &Path, error: &io::Error) -> CliError {
    CliError::new(format!("make bundle {}: {}", directory.display(), io_error(error)))
}

/// Writes the bundle to its directory.
pub(crate) fn install(bundle: &Bundle<'_>, reserved: Installed) -> Result<Installed, CliError> {
    let (directory, was_there) = (reserved.directory.as_path(), reserved.was_there);
    let failed = |e: &io::Error| failed(directory, e);
    let beside = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staging = tempfile::Builder::new()
        .prefix(".lariat-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(if was_there { directory } else { beside })
        .map_err(|e| failed(&e))?;
    bundle.write(staging.path())?;
    if was_there {
        for file in FILES.into_iter().filter(|file| staging.path().join(file).exists()) {
            let moved = std::fs::rename(staging.path().join(file), directory.join(file));
            moved.map_err(|e| failed(&e))?;
        }
        sync(directory).map_err(|e| failed(&e))?;
    } else {
        // In place of the empty directory.
        std::fs::rename(staging.path(), directory).map_err(|e| failed(&e))?;
        sync(beside).map_err(|e| failed(&e))?;
    }
    Ok(reserved)
}

/// Returns whether the directory exists. If so, it must be empty, and is made private.
fn take(directory: &Path) -> Result<bool, CliError> {
    let refused = |why: &str| {
        let shown = directory.display();
        CliError::new(format!("{shown} {why}; nothing was changed"))
            .hint(format!("mv {shown} {shown}.old, or --out with a new directory"))
    };
    match directory.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(CliError::new(format!("open {}: {}", directory.display(), io_error(&e)))),
        Ok(_) if !directory.is_dir() => Err(refused("exists and is not a directory")),
        Ok(_) => match private::create_directory(directory) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::AlreadyExists) => {
                Err(refused("exists and is not empty"))
            }
            made => Ok(made.map(|()| true)?),
        },
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Installed {
    /// Keeps the bundle, once the host is enrolled.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Another error is being reported already: files that can't be removed remain.
        for file in FILES {
            let _ = std::fs::remove_file(self.directory.join(file));
        }
        if !self.was_there {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

impl Bundle<'_> {
    fn write(&self, directory: &Path) -> Result<(), CliError> {
        let listen = self.host.address.as_ref().map(Address::listen);
        let dial = self.dials.map(|dials| dials.gateways.as_slice()).unwrap_or_default();
        let agent = agent_toml(self.name, self.enrolment, &Reach { listen, dial }, "state");
        let mut keyring = keyring_toml(self.name, self.key, self.verifier);
        keyring.push_str(self.entries);
        let park = self.dials.map(|dials| park_key(&dials.key));
        let leaf = self.leaf;
        let contents = [
            Some(leaf.certificate_pem.as_str()),
            Some(leaf.key_pem.as_str()),
            Some(self.ca),
            Some(keyring.as_str()),
            park.as_ref().map(|text| text.as_str()),
            Some(agent.as_str()),
        ];
        for (file, content) in FILES.into_iter().zip(contents) {
            if let Some(content) = content {
                private::create(&directory.join(file), content.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The file of the key that parks connections at gateways.
fn park_key(key: &Secret) -> Zeroizing<String> {
    let hex = key.to_hex();
    Zeroizing::new(format!(
        "# What this host parks connections with at its gateways. It can do nothing else.\n\
         secret = \"{}\"\n",
        hex.as_str()
    ))
}

/// A host's agent.toml, with paths relative to its directory. `state` is the directory for jobs and sockets.
pub(crate) fn agent_toml(
    name: &HostName,
    enrolment: EnrolmentId,
    Reach { listen, dial }: &Reach<'_>,
    state: &str,
) -> String {
    let listen = listen
        .as_ref()
        .map_or_else(String::new, |listen| format!("# Where to listen.\nlisten = \"{listen}\"\n"));
    let dial = if dial.is_empty() {
        String::new()
    } else {
        format!(
            "# The gateways that it dials, so that controllers reach it there.\n\
             [dial]\n\
             gateway = {dial:?}\n\
             # What it proves itself with there.\n\
             key = \"park.key\"\n"
        )
    };
    format!(
        "# The agent of {name}. Paths are relative to this file's directory.\n\
         name = \"{name}\"\n\
         # Which enrolment this is; the keys in the keyring are derived for it.\n\
         enrolment = \"{enrolment}\"\n\
         {listen}\
         # What the agent proves itself with.\n\
         certificate = \"host.pem\"\n\
         key = \"host.key\"\n\
         # Who may log in, and what each may do.\n\
         keyring = \"keyring.toml\"\n\
         # The directory for jobs and sockets; made when it is missing.\n\
         state = \"{state}\"\n\
         {dial}"
    )
}

/// A host's keyring, in which this controller's key may do everything.
pub(crate) fn keyring_toml(
    name: &HostName,
    key: &ControllerKey,
    verifier: &Verifier,
) -> Zeroizing<String> {
    let verbs: Vec<String> = Verb::ALL.iter().map(|verb| format!("\"{verb}\"")).collect();
    let verbs = verbs.join(", ");
    let (stored, agent) = (verifier.stored.to_hex(), verifier.agent.to_hex());
    Zeroizing::new(format!(
        "# Who may log in to {name}, and what each may do. What is kept here lets nobody log in\n\
         # anywhere, but keep it to the host: with it and host.key, another machine could pose as it.\n\
         # A key may also have: not_before = 2027-01-01T00:00:00Z, not_after = ...\n\
         [[key]]\n\
         id = \"{id}\"\n\
         label = \"{label}\"\n\
         stored = \"{stored}\"\n\
         agent = \"{agent}\"\n\
         verbs = [{verbs}]\n",
        id = key.id,
        label = key.label,
        stored = stored.as_str(),
        agent = agent.as_str(),
    ))
}

#[cfg(test)]
mod tests {
    use lariat_certs::ca::Ca;
    use lariat_wire::auth::proof::HostKeys;

    use super::*;

    fn install_into(directory: &Path) -> Result<Installed, CliError> {
        let name: HostName = "web1".parse().unwrap();
        let leaf = Ca::create().unwrap().issue(&name).unwrap();
        let key = ControllerKey::generate("alice@box".parse().unwrap()).unwrap();
        let enrolment = EnrolmentId([1; 16]);
        let verifier = HostKeys::derive(&key.secret, &name, &enrolment).verifier();
        let address = "[::1]:7500".parse().ok();
        let host = Host { address, tags: Vec::new(), via: None, proxy: None, enrolled: None };
        let (name, host, leaf, key, verifier) = (&name, &host, &leaf, &key, &verifier);
        let gateways = vec!["gw1=10.0.0.1:7433".to_owned()];
        let dials = Dials { gateways, key: Secret::generate().unwrap() };
        let (entries, ca, dials) = ("\n[[key]]\nlabel = \"@web3\"\n", "ca", Some(&dials));
        let bundle = Bundle { name, host, enrolment, leaf, key, verifier, entries, ca, dials };
        install(&bundle, reserve(directory)?)
    }

    #[test]
    fn a_bundle_that_is_not_kept_is_removed() {
        let outer = tempfile::tempdir().unwrap();
        let (new, empty) = (outer.path().join("a/new"), outer.path().join("empty"));
        std::fs::create_dir(&empty).unwrap();
        for directory in [&new, &empty] {
            let installed = install_into(directory).unwrap();
            assert_eq!(directory.read_dir().unwrap().count(), FILES.len());
            drop(installed);
        }
        assert!(!new.exists());
        assert_eq!(empty.read_dir().unwrap().count(), 0);
        install_into(&new).unwrap().keep();
        assert_eq!(new.read_dir().unwrap().count(), FILES.len());
        assert!(install_into(&new).is_err());
        assert_eq!(new.read_dir().unwrap().count(), FILES.len());
    }

    #[test]
    fn the_files_are_toml() {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("new");
        install_into(&directory).unwrap().keep();
        let read = |file| std::fs::read_to_string(directory.join(file)).unwrap();
        let keyring: toml::Table = read("keyring.toml").parse().unwrap();
        assert_eq!(keyring["key"][0]["label"].as_str(), Some("alice@box"));
        let agent: toml::Table = read("agent.toml").parse().unwrap();
        assert_eq!(agent["listen"].as_str(), Some("[::]:7500"));
        assert_eq!(agent["dial"]["gateway"][0].as_str(), Some("gw1=10.0.0.1:7433"));
        assert_eq!(keyring["key"][1]["label"].as_str(), Some("@web3"));
        let park: toml::Table = read("park.key").parse().unwrap();
        assert_eq!(park["secret"].as_str().unwrap().len(), 64);
    }
}
