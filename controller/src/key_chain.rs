//! The keys that may log in for a label: the one in force, the one that is about to take its place, and the one that it
//! has replaced. At each host the one is tried first that it took last.

use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::{KeyId, KeyLabel};
use lariat_base::secret::Secret;
use lariat_client::{KeySource, Peer};

use crate::error::CliError;
use crate::home::Home;
use crate::key::{self, ControllerKey};
use crate::key_hosts::{self, Enrolment, KeyHosts};
use crate::rotation::{Rotation, former};

/// The keys of a label.
pub(crate) struct KeyChain {
    home: Home,
    current: ControllerKey,
    rotation: Option<Rotation>,
    former: Option<ControllerKey>,
    hosts: Mutex<KeyHosts>,
}

impl KeyChain {
    /// The keys of this label, or else those of the default one.
    pub(crate) fn load(home: &Home, label: Option<&KeyLabel>) -> Result<Arc<Self>, CliError> {
        let current = ControllerKey::load(home, label)?;
        let (rotation, former) =
            (Rotation::load(home, &current.label)?, former(home, &current.label)?);
        let hosts = Mutex::new(KeyHosts::load(home, &current.label));
        Ok(Arc::new(Self { home: home.clone(), current, rotation, former, hosts }))
    }

    /// The key that is in force.
    pub(crate) fn current(&self) -> &ControllerKey {
        &self.current
    }

    fn next(&self) -> Option<&ControllerKey> {
        self.rotation.as_ref().map(|rotation| &rotation.next)
    }

    /// Every key to try at a host, those that other processes have written meanwhile included.
    fn all(&self, host: &Enrolment) -> impl Iterator<Item = ControllerKey> {
        let label = &self.current.label;
        let known = [Some(self.current.clone()), self.next().cloned()];
        // The new key's file is read first: once it is gone, the other one has its key. It is tried last: where the
        // one in force is denied, the host has the new one already.
        let waiting = Rotation::load(&self.home, label).ok().flatten().map(|waiting| waiting.next);
        let in_force = ControllerKey::load_file(&key::file(&self.home, label)).ok();
        // A host that has taken a newer key does not have the former one, and each login that fails counts there.
        let taken = lock(&self.hosts).taken(host);
        let former = self.former.clone().filter(|former| taken.is_none_or(|id| id == former.id));
        known.into_iter().chain([in_force, waiting, former]).flatten()
    }
}

impl KeySource for KeyChain {
    fn key(&self, peer: &Peer) -> Secret {
        let host = host(peer);
        if let Some(rotation) = self.rotation.as_ref().filter(|it| it.done.contains(&host)) {
            return rotation.next.secret.clone();
        }
        let taken = lock(&self.hosts).taken(&host);
        let others = self.next().into_iter().chain(&self.former);
        let key = others.into_iter().find(|key| taken == Some(key.id)).unwrap_or(&self.current);
        key.secret.clone()
    }

    fn another(&self, peer: &Peer, denied: &[KeyId]) -> Option<Secret> {
        self.all(&host(peer)).find(|key| !denied.contains(&key.id)).map(|key| key.secret)
    }

    fn accepted(&self, peer: &Peer, id: KeyId) {
        let host = host(peer);
        let mut hosts = lock(&self.hosts);
        if hosts.taken(&host) != Some(id) {
            // In a home that can't be written to, nothing is remembered.
            let _ = key_hosts::add(&self.home, &self.current.label, &host, id);
            hosts.set(host, id);
        }
    }
}

fn host(peer: &Peer) -> Enrolment {
    (peer.name.clone(), peer.enrolment)
}
