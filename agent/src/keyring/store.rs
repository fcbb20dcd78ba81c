//! The keyring's file and what is remembered beside it, changed by one process at a time: lock, read, decide, write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lariat_base::name::{EnrolmentId, KeyId};
use lariat_base::private::{self, PrivateError};
use lariat_base::spare;
use lariat_base::toml_file::{BadContent, TomlFileError};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::key::{KeyChanged, KeyProblem, Revision};
use lariat_wire::protocol::request::KeyRequest;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::change::{self, Asker, Present};
use super::here::wrong_root;
use super::{Keyring, Revoked};
use crate::policy::Clock;

/// Held by whoever changes the keyring.
const LOCK: &str = "keyring.lock";

/// Has room for the keyring when the disk is full.
const SPARE: &str = "keyring.spare";

/// Where a host's keyring is, and what it is for.
pub struct Store<'a> {
    /// The keyring's file.
    pub path: &'a Path,
    /// The agent's state directory.
    pub state: &'a Path,
    /// The host's enrollment.
    pub enrolment: EnrolmentId,
    /// The agent's own files and directories, which no root may reach.
    pub own: Vec<PathBuf>,
}

/// A keyring as it counts.
pub struct Loaded {
    /// The keys that may log in.
    pub keyring: Keyring,
    /// The labels of entries that are of no effect, because they were revoked.
    pub ignored: Vec<String>,
}

/// The keys that may log in from now on.
pub enum Counts {
    /// Those that the file has, before a change is made to it: somebody may have written to it.
    Found(Keyring),
    /// Those that it has after the change.
    Changed(Keyring),
}

impl Store<'_> {
    /// Loads the keys that may log in.
    pub fn load(&self) -> Result<Loaded, TomlFileError> {
        let (keyring, revoked) = (Keyring::load(self.path)?, Revoked::load(self.state)?);
        if let Some((line, message)) = keyring.entries().find_map(|key| wrong_root(key, &self.own))
        {
            return Err(BadContent { path: self.path.to_owned(), line, message }.into());
        }
        let ignored = keyring.entries().filter(|entry| revoked.names(entry));
        let ignored = ignored.map(|entry| entry.label.clone()).collect();
        Ok(Loaded { keyring: keyring.without(&revoked), ignored })
    }

    /// Reads the keyring, entries of no effect included, with its revision.
    pub fn read(&self) -> Result<(Revision, Keyring), Failure> {
        let text = private::read(self.path).map_err(|error| failure(&error))?;
        let keyring = Keyring::parse(self.path, &text).map_err(|error| form(&error))?;
        Ok((change::revision(&text), keyring))
    }

    /// Does what a request asks for, or finds out whether it could be done. Unless it is only that, `counts` is called
    /// with the keys that may log in from now on, while nobody else can change them: with those that are found first,
    /// where it may refuse the change, then with those that are left of it.
    pub fn change(
        &self,
        request: &KeyRequest,
        asker: Asker,
        clock: Clock,
        has_logged_in: &dyn Fn(KeyId) -> bool,
        mut counts: impl FnMut(Counts) -> Result<(), Failure>,
    ) -> Result<KeyChanged, Failure> {
        let _lock = self.lock()?;
        let text = private::read(self.path).map_err(|error| failure(&error))?;
        let revoked = Revoked::load(self.state).map_err(|error| form(&error))?;
        let present = Present {
            path: self.path,
            text: &text,
            revoked: &revoked,
            own: &self.own,
            enrolment: self.enrolment,
            asker,
            has_logged_in,
            clock,
        };
        let outcome = change::decide(request, &present);
        let outcome = outcome.map_err(|problem| Failure::request(Cause::Key(problem)))?;
        let is_dry = match request {
            KeyRequest::KeyAdd(add) => add.dry_run,
            KeyRequest::KeyAllow(allow) => allow.dry_run,
            KeyRequest::KeyList(_) | KeyRequest::KeyRevoke(_) | KeyRequest::KeyRotate(_) => false,
        };
        let answer = KeyChanged {
            revision: change::revision(outcome.text.as_ref().filter(|_| !is_dry).unwrap_or(&text)),
            label: outcome.label,
            ids: outcome.ids,
            changed: outcome.text.is_some() || outcome.revoked.is_some(),
        };
        if is_dry {
            return Ok(answer);
        }
        // A person may have written a root that can't be one, which keeps nobody from revoking a key.
        let effective =
            |keyring: &Keyring| keyring.only(|key| wrong_root(key, &self.own).is_none());
        let found = Keyring::parse(self.path, &text).map_err(|error| form(&error))?;
        counts(Counts::Found(effective(&found.without(&revoked))))?;
        // Before the entry goes, so that it never counts again; before it comes, so that it counts.
        if let Some(revoked) = outcome.revoked {
            revoked.save(self.state).map_err(|error| failure(&error))?;
        }
        let written = outcome.text.map_or(Ok(()), |text| {
            spare::replace(self.path, text.as_bytes(), &self.state.join(SPARE))
                .map_err(|error| failure(&error))
        });
        // What was revoked is of no effect, even if its entry is still there.
        if written.is_ok() || matches!(request, KeyRequest::KeyRevoke(_)) {
            counts(Counts::Changed(effective(&outcome.keyring)))?;
        }
        written.map(|()| answer)
    }

    /// Sets room aside, so that keys can be revoked on a full disk. Where there is none, it does as much as it can.
    pub fn set_aside(&self) {
        // Its file is there from then on.
        let Ok(_lock) = self.lock() else { return };
        Revoked::set_aside(self.state);
        spare::set_aside(&self.state.join(SPARE));
    }

    /// Waits until nobody changes the keyring, and keeps others from it.
    pub fn lock(&self) -> Result<File, Failure> {
        let path = self.state.join(LOCK);
        let failed = |error: &io::Error| {
            Failure::io(Action::Open, path.as_os_str().as_encoded_bytes(), error)
        };
        let opened =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed(&error))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&error.into())),
            }
        }
    }
}

fn failure(error: &PrivateError) -> Failure {
    match error {
        PrivateError::Io { path, source, .. } => {
            Failure::io(Action::Write, path.as_os_str().as_encoded_bytes(), source)
        }
        other => form(other),
    }
}

fn form(why: &dyn std::fmt::Display) -> Failure {
    Failure::request(Cause::Key(KeyProblem::Form(why.to_string())))
}

#[cfg(test)]
mod tests;
