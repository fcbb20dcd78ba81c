//! Asks a host for its keys, and to change them.

use std::cell::Cell;

use lariat_base::near::nearest;
use lariat_client::{AskError, Broken, HostHandle, Session};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::key::{KeyChanged, KeyList, KeyProblem, Keyring, ListedKey, Revision};

use crate::error::CliError;

/// Most keys of a host.
const MOST: u32 = 20_000;

/// Most keys that an error names.
const MOST_NAMED: usize = 10;

/// The keys of a host.
pub(crate) struct HostKeys {
    /// The connection, which is good for another request.
    pub(crate) session: Session,
    /// The keyring's revision.
    pub(crate) revision: Revision,
    /// Its keys.
    pub(crate) keys: Vec<ListedKey>,
}

impl HostKeys {
    /// The key that a person who says `name` means: its label or one of its ids.
    pub(crate) fn find(&self, name: &str) -> Option<&ListedKey> {
        let id = name.parse().ok();
        let has = |key: &&ListedKey| {
            let mut ids = [key.id, key.owner].into_iter().chain(key.was.iter().copied());
            key.label == name || id.is_some_and(|id| ids.any(|own| own == id))
        };
        self.keys.iter().find(has)
    }
}

impl HostKeys {
    /// The error for a name that none of them has, at this host: which one may be meant, and which there are.
    pub(crate) fn unknown(&self, name: &str, host: &HostHandle) -> CliError {
        let labels = || self.keys.iter().map(|key| key.label.as_str());
        let near = nearest(name, labels()).map(|near| format!(" (did you mean {near}?)"));
        let mut all: Vec<String> = labels().take(MOST_NAMED).map(ToOwned::to_owned).collect();
        if self.keys.len() > MOST_NAMED {
            all.push(format!("{} more", self.keys.len() - MOST_NAMED));
        }
        let what = format!(
            "its keyring has no such key as {name}{}; it has {}",
            near.unwrap_or_default(),
            all.join(", ")
        );
        let error = CliError::new(what).during(host.place());
        error.hint(format!("lariat key list {}", host.name()))
    }
}

/// Whether the host has answered that it does not do it for this key, so that asking again is of no use.
pub(crate) fn is_refusal(error: &AskError) -> bool {
    let AskError::Broken { error: Broken::Failed(why), .. } = error else { return false };
    matches!(why.cause, Cause::NotPermitted { .. } | Cause::Key(_))
}

/// Whether the host has answered that it has no such key.
pub(crate) fn is_unknown(error: &AskError) -> bool {
    let AskError::Broken { error: Broken::Failed(why), .. } = error else { return false };
    matches!(why.cause, Cause::Key(KeyProblem::NoSuchKey))
}

/// Lists the keys of a host.
pub(crate) async fn list(handle: &HostHandle) -> Result<HostKeys, AskError> {
    list_on(handle, None).await
}

/// Lists the keys of a host, on this connection if there is one.
pub(crate) async fn list_on(
    handle: &HostHandle,
    session: Option<Session>,
) -> Result<HostKeys, AskError> {
    let (session, (revision, keys)) =
        Box::pin(handle.ask_on(session, &KeyList, &Cell::default(), listed)).await?;
    Ok(HostKeys { session, revision, keys })
}

/// Asks for a change, on this connection if there is one. The host does it once, however often it is asked.
pub(crate) async fn change<M: Message>(
    handle: &HostHandle,
    session: Option<Session>,
    request: &M,
) -> Result<(Session, KeyChanged), AskError> {
    Box::pin(handle.ask_on(session, request, &Cell::default(), Session::answer)).await
}

async fn listed(session: &mut Session) -> Result<(Revision, Vec<ListedKey>), Broken> {
    let Keyring { revision, count } = session.answer().await?;
    if count > MOST {
        return Err(LinkError::Misbehaved("its list of keys has no end").into());
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(session.answer().await?);
    }
    Ok((revision, keys))
}
