//! A host's status as an object, whose fields are a stable interface.

use lariat_wire::grown::Grown;
use lariat_wire::protocol::audit::AuditHead;
use lariat_wire::protocol::note::Note;
use lariat_wire::protocol::status::{
    Disk, LimitUse, MemoryUse, Report, RunningJob, SessionStatus, TransferStatus,
};
use serde::Serialize;

use super::{certificate_days, fullest, used};

/// A host's status as an object. By default it is that of a host that gave no answer.
#[derive(Debug, Default, Serialize)]
pub struct StatusObject<'a> {
    version: Option<&'a str>,
    kernel: Option<&'a str>,
    uptime: Option<u64>,
    agent_uptime: Option<u64>,
    processors: Option<u32>,
    load: Option<[f64; 3]>,
    memory: Option<Memory>,
    disk: Vec<DiskObject<'a>>,
    sessions: Vec<SessionObject<'a>>,
    jobs: Vec<JobObject<'a>>,
    transfers: Vec<TransferObject<'a>>,
    limits: Vec<LimitObject<'a>>,
    unlisted: u32,
    certificate_days: Option<i64>,
    clock_skew: Option<f64>,
    audit: Option<Audit>,
    notes: Vec<NoteObject<'a>>,
}

#[derive(Debug, Serialize)]
struct Memory {
    total: u64,
    available: u64,
    swap: u64,
    swap_free: u64,
}

#[derive(Debug, Serialize)]
struct DiskObject<'a> {
    path: String,
    r#type: &'a str,
    /// Absent if it did not answer.
    #[serde(flatten)]
    figures: Option<DiskFigures>,
}

#[derive(Debug, Serialize)]
struct DiskFigures {
    size: u64,
    free: u64,
    files: u64,
    files_free: u64,
}

#[derive(Debug, Serialize)]
struct SessionObject<'a> {
    label: &'a str,
    key: String,
    origin: &'a str,
    since: u64,
    doing: Option<&'a str>,
    session: String,
}

#[derive(Debug, Serialize)]
struct JobObject<'a> {
    job: String,
    label: &'a str,
    key: String,
    started: u64,
    detached: bool,
    user: Option<&'a str>,
    command: Option<String>,
}

#[derive(Debug, Serialize)]
struct TransferObject<'a> {
    label: &'a str,
    key: String,
    started: u64,
    verb: &'static str,
    user: Option<&'a str>,
    path: Option<String>,
    bytes: u64,
    reused: u64,
    moved: u64,
}

/// A note.
#[derive(Debug, Serialize)]
pub struct NoteObject<'a> {
    number: u32,
    time: u64,
    label: &'a str,
    key: String,
    text: &'a str,
}

impl<'a> NoteObject<'a> {
    /// A note as an object.
    pub fn of(note: &'a Note) -> Self {
        let Note { number, time_ms, key, label, text } = note;
        Self { number: *number, time: time_ms / 1000, label, key: key.to_string(), text }
    }
}

#[derive(Debug, Serialize)]
struct LimitObject<'a> {
    name: &'a str,
    used: u64,
    total: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Audit {
    chain: String,
    seq: u64,
    hash: String,
}

impl<'a> StatusObject<'a> {
    /// The status that an agent reported. How its clock is beside another is known only to who asks over a network.
    pub fn of(report: &'a Report, clock_skew: Option<f64>) -> Self {
        let MemoryUse { total, available, swap, swap_free } = report.memory;
        let AuditHead { chain, seq, hash } = report.audit;
        Self {
            version: Some(&report.version),
            kernel: Some(&report.kernel),
            uptime: Some(report.up_ms / 1000),
            agent_uptime: Some(report.agent_ms / 1000),
            processors: Some(report.processors),
            load: Some(report.load.map(hundredths)),
            memory: Some(Memory { total, available, swap, swap_free }),
            disk: report.disks.iter().map(disk).collect(),
            sessions: report.sessions.iter().map(session).collect(),
            jobs: report.jobs.iter().map(job).collect(),
            transfers: report.transfers.iter().map(transfer).collect(),
            limits: report.limits.iter().map(limit).collect(),
            unlisted: report.unlisted,
            certificate_days: Some(certificate_days(report)),
            clock_skew,
            audit: Some(Audit { chain: hex::encode(chain), seq, hash: hex::encode(hash) }),
            notes: report.notes.iter().map(|Grown(one)| NoteObject::of(one)).collect(),
        }
    }
}

/// What may be shown to whoever can connect: a status without keys, commands and paths.
#[derive(Debug, Serialize)]
pub struct CountsObject {
    version: String,
    kernel: String,
    uptime: u64,
    agent_uptime: u64,
    processors: u32,
    load: [f64; 3],
    memory: Memory,
    /// The part of the fullest disk that is used, in percent; null if it does not answer.
    disk_used: Option<u8>,
    sessions: usize,
    jobs: usize,
    transfers: usize,
    limits: Vec<LimitCounts>,
    certificate_days: i64,
    audit_lines: u64,
}

#[derive(Debug, Serialize)]
struct LimitCounts {
    name: String,
    used: u64,
    total: u64,
    refused: u64,
}

impl CountsObject {
    /// The counts of a status.
    pub fn of(report: &Report) -> Self {
        let MemoryUse { total, available, swap, swap_free } = report.memory;
        let limit = |Grown(LimitUse { name, used, total, refusals }): &Grown<LimitUse>| {
            LimitCounts { name: name.clone(), used: *used, total: *total, refused: *refusals }
        };
        Self {
            version: report.version.clone(),
            kernel: report.kernel.clone(),
            uptime: report.up_ms / 1000,
            agent_uptime: report.agent_ms / 1000,
            processors: report.processors,
            load: report.load.map(hundredths),
            memory: Memory { total, available, swap, swap_free },
            disk_used: fullest(report).and_then(used),
            sessions: report.sessions.len(),
            jobs: report.jobs.len(),
            transfers: report.transfers.len(),
            limits: report.limits.iter().map(limit).collect(),
            certificate_days: certificate_days(report),
            audit_lines: report.audit.seq,
        }
    }
}

fn hundredths(load: u32) -> f64 {
    f64::from(load) / 100.0
}

fn disk(Grown(disk): &Grown<Disk>) -> DiskObject<'_> {
    let Disk { size, free, files, files_free, .. } = *disk;
    let figures = (!disk.is_silent).then_some(DiskFigures { size, free, files, files_free });
    DiskObject { path: lossy(&disk.path), r#type: &disk.kind, figures }
}

fn session(Grown(session): &Grown<SessionStatus>) -> SessionObject<'_> {
    SessionObject {
        label: &session.label,
        key: session.key.to_string(),
        origin: &session.origin,
        since: session.since_ms / 1000,
        doing: Some(session.doing.as_str()).filter(|doing| !doing.is_empty()),
        session: session.session.to_string(),
    }
}

fn job(Grown(job): &Grown<RunningJob>) -> JobObject<'_> {
    JobObject {
        job: job.job.to_string(),
        label: &job.label,
        key: job.key.to_string(),
        started: job.since_ms / 1000,
        detached: job.is_detached,
        user: job.user.as_deref(),
        command: job.command.as_deref().map(lossy),
    }
}

fn transfer(Grown(transfer): &Grown<TransferStatus>) -> TransferObject<'_> {
    TransferObject {
        label: &transfer.label,
        key: transfer.key.to_string(),
        started: transfer.since_ms / 1000,
        verb: if transfer.is_push { "push" } else { "pull" },
        user: transfer.user.as_deref(),
        path: transfer.path.as_deref().map(lossy),
        bytes: transfer.total,
        reused: transfer.had,
        moved: transfer.moved,
    }
}

fn limit(Grown(limit): &Grown<LimitUse>) -> LimitObject<'_> {
    let LimitUse { name, used, total, refusals } = limit;
    LimitObject { name, used: *used, total: *total, refused: *refusals }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
