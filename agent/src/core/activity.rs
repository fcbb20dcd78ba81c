//! Who is on this host, and what they do: the sessions and their requests, as the events report them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use lariat_base::lock::lock;
use lariat_base::name::{KeyId, SessionId};
use lariat_wire::protocol::request::{FileRequest, Request};
use lariat_wire::protocol::verb::Verb;

use super::counters::Counters;
use crate::keyring::Entry;
use crate::meter::Meter;
use crate::transport::Origin;

/// The sessions of an agent.
#[derive(Default)]
pub struct Activity(Mutex<BTreeMap<SessionId, Present>>);

/// A session.
#[derive(Clone, Debug)]
pub struct Present {
    /// The first id of its key.
    pub owner: KeyId,
    /// The key's label.
    pub label: String,
    /// Where it comes from.
    pub origin: Origin,
    /// When it began.
    pub since: SystemTime,
    /// The request that it serves.
    pub doing: Option<Doing>,
}

/// A request that is served.
#[derive(Clone, Debug)]
pub struct Doing {
    /// The verb that it needs.
    pub verb: Verb,
    /// The transfer that it is.
    pub transfer: Option<Arc<Transfer>>,
}

/// A transfer.
#[derive(Debug)]
pub struct Transfer {
    /// When it began.
    pub since: SystemTime,
    /// Whether files come to the host.
    pub is_push: bool,
    /// The path that was asked for.
    pub path: Vec<u8>,
    /// The user that was asked for.
    pub user: Option<String>,
    /// How far it has come.
    pub meter: Arc<Meter>,
}

impl Transfer {
    /// The transfer that a request asks for, if it does. Further connections are part of it.
    pub(super) fn of(request: &Request, counters: &Counters) -> Option<Self> {
        let Request::File(request) = request else { return None };
        let (is_push, path, user) = match request {
            FileRequest::Push(push) => (true, &push.dest.path, &push.user),
            FileRequest::PushTree(push) => (true, &push.dest.path, &push.user),
            FileRequest::Pull(pull) => (false, &pull.source, &pull.user),
            FileRequest::Clean(_) | FileRequest::Lane(_) => return None,
        };
        let meter = Arc::new(counters.meter(is_push));
        let (since, path, user) = (SystemTime::now(), path.clone(), user.clone());
        Some(Self { since, is_push, path, user, meter })
    }
}

impl Activity {
    /// The sessions, the oldest first.
    pub fn sessions(&self) -> Vec<(SessionId, Present)> {
        let mut all: Vec<_> = lock(&self.0).iter().map(|(id, one)| (*id, one.clone())).collect();
        all.sort_by_key(|(id, one)| (one.since, *id));
        all
    }

    /// A session has begun.
    pub(super) fn came(&self, id: SessionId, key: &Entry, origin: &Origin) {
        let (owner, label, origin) = (key.owner, key.label.clone(), origin.clone());
        let present = Present { owner, label, origin, since: SystemTime::now(), doing: None };
        lock(&self.0).insert(id, present);
    }

    /// A session serves a request, or none any more.
    pub(super) fn does(&self, id: SessionId, doing: Option<Doing>) {
        if let Some(present) = lock(&self.0).get_mut(&id) {
            present.doing = doing;
        }
    }

    /// A session has ended.
    pub(super) fn left(&self, id: SessionId) {
        lock(&self.0).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::verb::Verbs;

    use super::*;

    #[test]
    fn a_session_is_there_until_it_has_left() {
        let (activity, key) = (Activity::default(), Entry::for_tests(Verbs::all()));
        let origin = Origin::Local { uid: 5, pid: None };
        let [one, two] = [1, 2].map(|byte| SessionId([byte; 16]));
        activity.came(two, &key, &origin);
        activity.came(one, &key, &origin);
        activity.does(one, Some(Doing { verb: Verb::Run, transfer: None }));
        let verbs = || -> Vec<_> {
            let doing = |(id, one): (SessionId, Present)| (id, one.doing.map(|doing| doing.verb));
            activity.sessions().into_iter().map(doing).collect()
        };
        assert_eq!(verbs(), [(two, None), (one, Some(Verb::Run))]);
        activity.does(one, None);
        activity.left(two);
        activity.does(two, Some(Doing { verb: Verb::Run, transfer: None }));
        assert_eq!(verbs(), [(one, None)]);
    }
}
