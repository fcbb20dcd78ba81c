//! The host's status: puts together what is known of the host, the agent and those who use it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use lariat_base::clock::{milliseconds, since_boot, whole_milliseconds};
use lariat_base::name::{KeyId, SessionId};
use lariat_wire::grown::Grown;
use lariat_wire::protocol::failure::Limit;
use lariat_wire::protocol::note::Note;
use lariat_wire::protocol::status::{
    Disk, LimitUse, Report, RunningJob, SessionStatus, TransferStatus,
};

use crate::budget::Resource;
use crate::core::{Agent, Present};
use crate::host;
use crate::jobs::{JobName, Record};
use crate::keyring::{Entry, is_local};
use crate::notes;
use crate::upgrade::VERSION;

/// Most bytes of a text, which may be as long as a controller likes.
const LONGEST: usize = 256;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The first id of the key that asks.
    pub(crate) owner: KeyId,
    /// Whether it may see others' commands and paths, not only its own.
    pub(crate) sees_all: bool,
}

impl Asker {
    /// The host itself: what is shown on a socket that only its owner can open.
    pub(crate) fn host() -> Self {
        Self { owner: KeyId([0; 16]), sees_all: true }
    }

    /// Whether it may see the commands and paths of this key.
    fn sees(self, owner: KeyId) -> bool {
        self.sees_all || self.owner == owner
    }
}

/// The status, as `asker` may see it. Reads files, and may wait a moment for a disk.
pub(crate) fn report(agent: &Agent, asker: Asker) -> Report {
    agent.job_shares.settle(&agent.jobs);
    let (mut jobs, sessions) = (jobs(agent, asker), agent.activity.sessions());
    let mut transfers: Vec<_> =
        sessions.iter().filter_map(|(_, one)| transfer(one, asker)).map(Grown).collect();
    let mut sessions: Vec<_> = sessions.into_iter().map(session_status).collect();
    jobs.sort_by_key(|Grown(job)| (job.since_ms, job.job));
    transfers.sort_by_key(|Grown(transfer)| transfer.since_ms);
    let unlisted = cut(&mut sessions) + cut(&mut jobs) + cut(&mut transfers);
    Report {
        version: VERSION.to_owned(),
        kernel: host::kernel(),
        up_ms: whole_milliseconds(since_boot()),
        agent_ms: whole_milliseconds(agent.began.elapsed()),
        processors: host::processors(),
        load: host::load(),
        memory: host::memory(),
        certificate_end: agent.certificates.present().info.not_after,
        audit: agent.audit.head(),
        disks: agent.disks.look().into_iter().map(disk).collect(),
        limits: limits(agent),
        sessions,
        jobs,
        transfers,
        unlisted: u32::try_from(unlisted).unwrap_or(u32::MAX),
        notes: agent.notes.all().into_iter().map(note).collect(),
        // Last, for it is compared with the moment at which the answer comes.
        time_ms: milliseconds(SystemTime::now()),
    }
}

/// A session, as everybody who may see the status sees it.
pub(crate) fn session_status((session, one): (SessionId, Present)) -> Grown<SessionStatus> {
    let doing = one.doing.map(|doing| doing.verb.to_string()).unwrap_or_default();
    Grown(SessionStatus {
        session,
        key: one.owner,
        label: one.label,
        origin: one.origin.to_string(),
        since_ms: milliseconds(one.since),
        doing,
    })
}

/// The newest session of each key but this one.
pub(crate) fn others(agent: &Agent, owner: KeyId) -> Vec<Grown<SessionStatus>> {
    let others = agent.activity.sessions().into_iter().filter(|(_, one)| one.owner != owner);
    let newest: BTreeMap<_, _> = others.map(|(id, one)| (one.owner, (id, one))).collect();
    newest.into_values().take(Report::MOST).map(session_status).collect()
}

/// A note, as it is told to controllers.
pub(crate) fn note(note: notes::Note) -> Grown<Note> {
    let notes::Note { number, time_ms, owner, label, text, seen: _ } = note;
    // An id that a file has is one, unless somebody has changed the file.
    let key = owner.parse().unwrap_or(KeyId([0; 16]));
    Grown(Note { number, time_ms, key, label, text })
}

/// Cuts a list, and returns how much of it is left out.
fn cut<T>(list: &mut Vec<T>) -> usize {
    let more = list.len().saturating_sub(Report::MOST);
    list.truncate(Report::MOST);
    more
}

fn disk(disk: Disk) -> Grown<Disk> {
    Grown(Disk { path: beginning(&disk.path), ..disk })
}

fn beginning(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(LONGEST)].to_vec()
}

fn limits(agent: &Agent) -> Vec<Grown<LimitUse>> {
    let of = |name: &str, what, limit| {
        let used = agent.budget.used(what) as u64;
        let (total, refusals) = (agent.budget.total(what), agent.counters.refusals(limit));
        Grown(LimitUse { name: name.to_owned(), used, total, refusals })
    };
    vec![
        of("sessions", Resource::Session, Limit::Sessions),
        of("jobs", Resource::Job, Limit::Jobs),
        of("memory", Resource::Memory, Limit::Memory),
    ]
}

fn jobs(agent: &Agent, asker: Asker) -> Vec<Grown<RunningJob>> {
    let keyring = agent.keyring();
    let job = |(JobName { key, id }, record): (JobName, Record)| {
        let entry = keyring.of_owner(key).map(|entry| entry.label.clone());
        let label = entry.unwrap_or_else(|| {
            if is_local(key) { Entry::local_label(key) } else { key.to_string() }
        });
        let command = asker.sees(key).then_some(record.summary);
        Grown(RunningJob {
            job: id,
            key,
            label,
            since_ms: record.began_ms,
            is_detached: record.detached,
            user: record.user,
            command,
        })
    };
    let names = agent.job_shares.names().into_iter();
    let running = names.filter_map(|name| Some((name, agent.jobs.running(name)?)));
    running.map(job).collect()
}

fn transfer(one: &Present, asker: Asker) -> Option<TransferStatus> {
    let transfer = one.doing.as_ref()?.transfer.as_ref()?;
    let meter = transfer.meter.read();
    Some(TransferStatus {
        key: one.owner,
        label: one.label.clone(),
        since_ms: milliseconds(transfer.since),
        is_push: transfer.is_push,
        user: transfer.user.clone(),
        path: asker.sees(one.owner).then(|| beginning(&transfer.path)),
        total: meter.total,
        had: meter.had,
        moved: meter.moved,
    })
}
