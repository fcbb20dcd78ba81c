//! Does at hosts that are about to be reached what is pending there: keys that were revoked while they were away.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::KeyId;
use lariat_client::{AskError, Broken, HostHandle};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::key::KeyRevoke;

use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::host_keys;
use crate::output;
use crate::park;
use crate::revocations::{PendingHost, Revocation, Revocations};
use crate::runtime::block_on;
use crate::target::Chosen;

/// Hosts at once.
const AT_ONCE: usize = 64;

/// The host of a verb for one host, at which nothing is pending any more if it can be reached.
pub(crate) fn host(
    context: &Context,
    connect: &ReachOptions,
    chosen: &Chosen,
) -> Result<HostHandle, CliError> {
    let fleet = Fleet::load(context, connect)?;
    let handle = fleet.host(chosen)?;
    settle(context, &fleet, std::slice::from_ref(chosen))?;
    Ok(handle)
}

/// Does what is pending at these hosts. A host that can't be reached keeps it; the verb itself reports that.
pub(crate) fn settle(context: &Context, fleet: &Fleet, hosts: &[Chosen]) -> Result<(), CliError> {
    if fleet.is_local() {
        return Ok(());
    }
    let home = context.home()?;
    let revocations = Revocations::load(&home)?;
    if revocations.revoked.iter().all(|revocation| revocation.pending.is_empty()) {
        return Ok(());
    }
    let mut due = Vec::new();
    for chosen in hosts {
        let Ok((_, enrolled)) = fleet.inventory.enrolled(&chosen.host) else { continue };
        let host = PendingHost { host: chosen.host.clone(), enrolment: enrolled.enrolment };
        let all: Vec<Revocation> = revocations.due(&host).cloned().collect();
        if !all.is_empty() {
            // Once, for the verb itself is patient.
            let handle = fleet.host(chosen)?.reconnecting(Some(Duration::ZERO));
            due.push((host, all, handle));
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    let answers = beside(due)?;
    if answers.is_empty() {
        return Ok(());
    }
    let lock = home.lock()?;
    let mut revocations = Revocations::load(&home)?;
    for Answer { host, name, told } in &answers {
        match told {
            Ok(ids) => {
                revocations.done(name, host, ids);
                park::revoked(&home, &lock, &host.host, ids)?;
                output::note(&format!("{}: revoked {name}, which was pending", host.host));
            }
            Err(why) => {
                let host = &host.host;
                context.outages.warn(&format!(
                    "{host}: {name} was revoked and is still there: {why}; try: lariat key revoke {name} {host}"
                ));
            }
        }
    }
    revocations.save(&home, &lock)
}

type Due = (PendingHost, Vec<Revocation>, HostHandle);

/// What a host answers to a revocation.
struct Answer {
    host: PendingHost,
    /// The key, as a person said it.
    name: String,
    /// The ids that the host knew, or why it keeps the key.
    told: Result<Vec<KeyId>, Failure>,
}

/// On a thread of its own, for the caller may have a runtime around it.
fn beside(due: Vec<Due>) -> Result<Vec<Answer>, CliError> {
    let work = || {
        block_on(async {
            let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
            let local = tokio::task::LocalSet::new();
            let running: Vec<_> = due
                .into_iter()
                .map(|due| {
                    let places = Arc::clone(&places);
                    local.spawn_local(async move {
                        let _place = places.acquire().await;
                        one(due).await
                    })
                })
                .collect();
            local.await;
            let mut answers = Vec::new();
            for host in running {
                answers.extend(host.await.unwrap_or_default());
            }
            Ok(answers)
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(CliError::new("a mistake in lariat itself")))
}

/// What one host answers. A revocation that it refuses stays pending, and does not hold up the others.
async fn one((host, all, handle): Due) -> Vec<Answer> {
    let mut answers = Vec::new();
    for revocation in all {
        let told = match revoke(&handle, &revocation).await {
            Ok(ids) => Ok(ids),
            Err(AskError::Broken { error: Broken::Failed(why), .. })
                if matches!(why.cause, Cause::Key(_)) =>
            {
                Err(why)
            }
            // Not reached, or this key may not: all of them stay pending.
            Err(_) => break,
        };
        answers.push(Answer { host: host.clone(), name: revocation.name, told });
    }
    answers
}

/// Revokes a key at one host, by its ids where they are known: its label may be another's by now. Returns the ids that
/// the host knew; none if it did not have the key.
async fn revoke(handle: &HostHandle, revocation: &Revocation) -> Result<Vec<KeyId>, AskError> {
    let mut ids: Vec<KeyId> = revocation.ids.iter().map(|id| id.0).collect();
    ids.extend(revocation.name.parse::<KeyId>().ok());
    let mut session = None;
    if ids.is_empty() {
        let keys = host_keys::list(handle).await?;
        ids.extend(keys.find(&revocation.name).map(|key| key.id));
        session = Some(keys.session);
    }
    let mut known = Vec::new();
    for id in ids {
        let Revocation { keep_jobs, force, .. } = *revocation;
        let request = KeyRevoke { key: id.to_string(), keep_jobs, force };
        let (kept, changed) = host_keys::change(handle, session.take(), &request).await?;
        session = Some(kept);
        known.extend(changed.ids);
    }
    if let Some(session) = session {
        session.leave().await;
    }
    Ok(known)
}
