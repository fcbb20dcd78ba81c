//! This machine as a witness: what each host has shown of its audit, in `LARIAT_HOME/seen`, by host and enrollment; and
//! until when its certificate is valid.
//!
//! A connection is compared with what was known when it was begun, because lines that are shown on several
//! connections at once may arrive in any order. What contradicts is told at once and is not remembered, but what it
//! contradicts is, and is told at each contact until `audit verify` has settled it.

mod certificates;
mod witnesses;

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use lariat_base::certificate::CertificateInfo;
use lariat_base::clock::seconds;
use lariat_base::lock::lock;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::os_error::io_error;
use lariat_client::{Peer, Shown};
use lariat_wire::protocol::audit::AuditHead;
use rustix::fs::FlockOperation;

use crate::error::CliError;
use crate::home::Home;
use crate::outages::Outages;

pub(crate) use certificates::CertificateEnds;
pub(crate) use witnesses::{Contradiction, Witness, Witnesses};

/// The file that is locked while another one is rewritten.
const LOCK: &str = ".lock";

/// The file that takes another one's place. Only who has the lock writes it.
const NEW: &str = ".new";

/// Lines of a file that are not kept, with which it is rewritten.
const LINES: usize = 16;

/// The longest file of another operator that is read, in bytes.
const MAX_LEN: u64 = 1024 * 1024;

/// What all hosts have shown. Clones share their state.
#[derive(Clone)]
pub(crate) struct Seen(Arc<Mutex<State>>);

struct State {
    directory: Option<PathBuf>,
    hosts: HashMap<HostName, Host>,
    /// The certificates that were shown.
    ends: CertificateEnds,
    outages: Outages,
}

/// What one host has shown.
struct Host {
    path: PathBuf,
    /// As it was in the file, with what was shown since.
    witnesses: Witnesses,
    /// Lines of the file that are not kept.
    lines: usize,
    /// What was shown that the file lacks.
    new: Option<Witness>,
    /// The file's content is to be replaced by `new`.
    replaced: bool,
    /// What was contradicted, which the file does not say yet.
    contradicted: Option<Witness>,
    contradiction: Option<Contradiction>,
}

impl Host {
    /// What the file says. A line that can't be read is warned of.
    fn read(path: PathBuf, outages: &Outages) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let (witnesses, bad) = Witnesses::read(&text);
        if bad > 0 {
            let path = path.display();
            outages.warn(&format!("{path}: {bad} lines are no witnesses of a record"));
        }
        let lines = text.lines().count().saturating_sub(witnesses.iter().count());
        let (new, replaced, contradicted, contradiction) = (None, false, None, None);
        Self { path, witnesses, lines, new, replaced, contradicted, contradiction }
    }
}

impl Seen {
    /// Nothing yet; what contradicts is shown by `outages`.
    pub(crate) fn new(outages: Outages) -> Self {
        let (directory, hosts, ends) = (None, HashMap::new(), CertificateEnds::default());
        Self(Arc::new(Mutex::new(State { directory, hosts, ends, outages })))
    }

    /// Keeps it in this fleet's directory.
    pub(crate) fn keep_in(&self, home: &Home) -> Self {
        self.state().directory = Some(home.seen_directory());
        self.clone()
    }

    /// What this host had shown before now; nothing if it was not connected to.
    pub(crate) fn witnesses(&self, host: &HostName) -> Witnesses {
        self.state().hosts.get(host).map(|host| host.witnesses.clone()).unwrap_or_default()
    }

    /// The file with what this host has contradicted, if that is not settled.
    pub(crate) fn unsettled(&self, host: &HostName) -> Option<PathBuf> {
        let state = self.state();
        let host = state.hosts.get(host)?;
        host.contradiction.is_some().then(|| host.path.clone())
    }

    /// Everything that the host had shown is linked to this line, or given up for it.
    pub(crate) fn replace(&self, host: &HostName, line: AuditHead) {
        let mut state = self.state();
        if let Some(host) = state.hosts.get_mut(host) {
            let witness = witness(line);
            host.witnesses.replace(witness);
            (host.new, host.replaced, host.contradicted) = (Some(witness), true, None);
        }
    }

    /// A host's certificate ends at this time, in seconds since 1970.
    pub(crate) fn certificate_ends(&self, host: &HostName, enrolment: EnrolmentId, end: i64) {
        self.state().ends.set(host.clone(), enrolment, end);
    }

    /// Writes what was shown to the files. What can't be written is told.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        let State { directory, hosts, ends, outages } = &mut *state;
        let Some(directory) = directory else { return };
        let is_new = |host: &&mut Host| host.new.is_some() || host.contradicted.is_some();
        let new: Vec<&mut Host> = hosts.values_mut().filter(is_new).collect();
        let ends = std::mem::take(ends);
        // Whoever has removed the home meanwhile wants nothing remembered in it.
        let is_gone = directory.parent().is_some_and(|home| !home.exists());
        if is_gone || (new.is_empty() && ends == CertificateEnds::default()) {
            return;
        }
        if let Err(error) = save(directory, new).and_then(|()| ends.save(directory)) {
            let (directory, why) = (directory.display(), io_error(&error));
            outages.warn(&format!(
                "what hosts show of their records can't be remembered in {directory}: {why}"
            ));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    fn shown(&self, name: &HostName, before: &Witnesses, line: AuditHead) {
        let mut state = self.state();
        let State { hosts, outages, .. } = &mut *state;
        let Some(host) = hosts.get_mut(name) else { return };
        let contradicted =
            before.contradicted_by(line).or_else(|| host.witnesses.rewritten_by(line));
        match contradicted {
            // An agent that keeps no audit shows this.
            None if line == AuditHead::default() => return,
            // Nothing was written since.
            None if host.witnesses.newest() == Some(line) => {}
            None => {
                let witness = witness(line);
                host.witnesses.add(witness);
                if host.witnesses.newest() == Some(line) {
                    host.new = Some(witness);
                }
            }
            Some(witness) if !witness.is_contradicted => {
                let witness = Witness { is_contradicted: true, ..witness };
                host.witnesses.add(witness);
                host.contradicted = Some(witness);
            }
            Some(_) => {}
        }
        let contradiction = contradicted.map(|witness| Contradiction::of(witness, line));
        let contradiction = contradiction.or_else(|| host.witnesses.unsettled(line));
        if host.contradiction.is_none() {
            host.contradiction = contradiction;
            contradiction.iter().for_each(|what| outages.warn(&told(name, *what)));
        }
    }
}

/// A contradiction, as everybody is to see it.
pub(crate) fn told(host: &HostName, contradiction: Contradiction) -> String {
    format!(
        "{host}'s record {contradiction}. Keys revoked since may be back (key list {host}); see lariat audit verify {host}"
    )
}

impl lariat_client::Witness for Seen {
    fn connecting(&self, peer: &Peer) -> Shown {
        let state = self.state();
        let Some(directory) = state.directory.clone() else { return Box::new(|_| ()) };
        let (name, outages) = (peer.name.clone(), state.outages.clone());
        let known = state.hosts.get(&name).map(|host| host.witnesses.clone());
        drop(state);
        let mut before = known.unwrap_or_else(|| {
            // Other hosts are connected to meanwhile.
            let host = Host::read(directory.join(format!("{name}-{}", peer.enrolment)), &outages);
            self.state().hosts.entry(name.clone()).or_insert(host).witnesses.clone()
        });
        let seen = self.clone();
        Box::new(move |line| {
            seen.shown(&name, &before, line);
            // What comes later on the same connection can't be older.
            before.add(witness(line));
        })
    }

    fn certified(&self, Peer { name, enrolment, .. }: &Peer, certificate: &CertificateInfo) {
        self.certificate_ends(name, *enrolment, certificate.not_after);
    }
}

/// Another operator's file.
pub(crate) fn read(path: &Path) -> Result<Witnesses, CliError> {
    let failed = |e: io::Error| CliError::new(format!("read {}: {}", path.display(), io_error(&e)));
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_LEN).read_to_end(&mut text).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    match Witnesses::read(&text) {
        (witnesses, 0) => Ok(witnesses),
        (_, bad) => {
            let path = path.display();
            Err(CliError::new(format!("{path}: {bad} lines are no witnesses of a record")))
        }
    }
}

/// A line that is shown now.
fn witness(line: AuditHead) -> Witness {
    Witness { line, at: seconds(SystemTime::now()), is_contradicted: false }
}

fn save(directory: &Path, hosts: Vec<&mut Host>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for host in hosts {
        let (new, contradicted) = (host.new.take(), host.contradicted.take());
        if !host.replaced {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).mode(0o600).open(&host.path)?;
            let added = contradicted.iter().chain(&new).map(ToString::to_string);
            file.write_all(added.collect::<String>().as_bytes())?;
        }
        if host.replaced || host.lines >= LINES {
            rewrite(directory, host, new)?;
        }
    }
    Ok(())
}

/// Leaves only what is kept in a file, unless another process is at it.
fn rewrite(directory: &Path, host: &Host, new: Option<Witness>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let lock =
        options.write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return if host.replaced { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) };
    }
    let mut options = OpenOptions::new();
    let mut old = options.read(true).append(true).create(true).mode(0o600).open(&host.path)?;
    let (mut text, mut kept) = (String::new(), Witnesses::default());
    old.read_to_string(&mut text)?;
    match new.filter(|_| host.replaced) {
        Some(new) => kept.replace(new),
        None => kept = Witnesses::read(&text).0,
    }
    let new = directory.join(NEW);
    // One that a killed process left may have another mode.
    let _ = std::fs::remove_file(&new);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(kept.write().as_bytes())?;
    std::fs::rename(&new, &host.path)?;
    // What another process has added meanwhile.
    let mut added = Vec::new();
    old.read_to_end(&mut added)?;
    OpenOptions::new().append(true).open(&host.path)?.write_all(&added)
}
