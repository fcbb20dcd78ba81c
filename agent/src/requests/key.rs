//! `key list|add|allow|revoke|rotate`: shows the keyring of this host, and changes it.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::key::{KeyRotate, Keyring, ListedKey};
use lariat_wire::protocol::request::KeyRequest;

use crate::core::{Outcome, Permit, Session};
use crate::keyring::{Asker, Entry};
use crate::transport::SessionLink;

/// Lists the keys, or makes the change and confirms it.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: KeyRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let served = match &request {
        KeyRequest::KeyList(_) => list(link, session).await?,
        other => change(link, other, session)?,
    };
    permit.finish(
        link.outbox(),
        &served.map_or_else(Outcome::Failed, |done| Outcome::Done(done.into())),
    )
}

async fn list(
    link: &mut SessionLink,
    session: &Session,
) -> Result<Result<String, Failure>, LinkError> {
    let (revision, keyring) = match session.agent.read_keys() {
        Ok(read) => read,
        Err(failure) => return Ok(Err(failure)),
    };
    let count = keyring.entries().count();
    link.send(&Keyring { revision, count: u32::try_from(count).unwrap_or(u32::MAX) }).await?;
    for entry in keyring.entries() {
        link.send(&listed(entry, session)).await?;
    }
    Ok(Ok(format!("{count} of them")))
}

fn listed(entry: &Entry, session: &Session) -> ListedKey {
    let used = |id| session.agent.last_used.get(id);
    ListedKey {
        id: entry.id,
        label: entry.label.clone(),
        owner: entry.owner,
        was: entry.was.clone(),
        pending: entry.pending.as_ref().map(|pending| pending.id),
        rules: entry.rules(),
        last_used: entry.ids().filter_map(used).max(),
    }
}

fn change(
    link: &SessionLink,
    request: &KeyRequest,
    session: &Session,
) -> Result<Result<String, Failure>, LinkError> {
    let changed = match session
        .agent
        .change_keys(request, Asker::Key(session.login, session.origin.peer()))
    {
        Ok(changed) => changed,
        Err(failure) => return Ok(Err(failure)),
    };
    link.outbox().post(&changed)?;
    let done = match request {
        _ if !changed.changed => "nothing to change",
        KeyRequest::KeyAdd(add) if add.dry_run => "would be added",
        KeyRequest::KeyAllow(allow) if allow.dry_run => "would be changed",
        KeyRequest::KeyList(_) => "listed",
        KeyRequest::KeyAdd(_) => "added",
        KeyRequest::KeyAllow(_) => "rules replaced",
        KeyRequest::KeyRevoke(_) => "revoked",
        KeyRequest::KeyRotate(KeyRotate::Begin { .. }) => "another key may take its place",
        KeyRequest::KeyRotate(KeyRotate::Finish) => "replaced",
    };
    Ok(Ok(done.to_owned()))
}
