//! Replaces the agent by another version, and puts the old one back unless somebody logs in to the new one.
//!
//! The new program is sent to a file beside the old one, and [`checks`] run it. Then a [`guard`] is started, and the
//! agent stops. Whatever starts it again starts the old program, which at its start executes the new one, once. The new
//! one takes the old one's name when the key that asked has logged in to it. What is to be done in which phase is
//! decided in [`record`]; where the host has systemd, [`unit`] speaks to it.

mod checks;
mod guard;
mod program;
mod record;
mod store;
pub(crate) mod unit;
mod version;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lariat_base::name::{KeyId, UpgradeId};
use lariat_base::os_error::io_error;
use lariat_wire::protocol::upgrade::{Standing, Step, Upgrade};
use rustix::process::{Resource, setrlimit};
use serde::Serialize;
use tracing::{info, warn};

use crate::audit::Audit;
use crate::config::Config;
use crate::jobs::{self, OWN_BINARY};
use crate::{audit, descriptors};
use record::{AtStart, FORMAT, FileId, Now, Phase, Record, WhenAsked};
use store::{Store, milliseconds};

pub(crate) use guard::{SUBCOMMAND, main};

/// Variables of a process that systemd has started, which do not hold for what it executes later.
const PASSED: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who asks for an upgrade.
pub(crate) struct Asker<'a> {
    /// The first id of the key.
    pub(crate) owner: KeyId,
    pub(crate) label: &'a str,
}

/// A new program that was checked.
pub(crate) struct Checked {
    program: PathBuf,
    staged: FileId,
    to: String,
}

/// What the checks say.
pub(crate) enum Verdict {
    Now(Step),
    Begin(Checked),
}

/// Where a new program is to be sent.
pub(crate) fn destination() -> io::Result<PathBuf> {
    let new = program::new(&program::installed()?);
    // Who made it may have kept it open.
    program::remove(&new)?;
    Ok(new)
}

/// How an upgrade that this key asked for before stands, or why another can't begin; and the version that is, or was to
/// be, replaced.
pub(crate) fn known(
    state: &Path,
    id: UpgradeId,
    asker: &Asker<'_>,
) -> Result<Option<(String, Step)>, String> {
    if !Store::has_record(state) {
        return Ok(None);
    }
    let store = Store::lock(state).map_err(|error| io_error(&error))?;
    Ok(store.load().and_then(|record| {
        if record.id == id && record.owner == asker.owner {
            Some((record.from, Step::Begun { to: record.to, limit_ms: record.limit }))
        } else if record.is_over() {
            None
        } else {
            let label = record.label;
            let why = format!(
                "an upgrade that {label} asked for is under way; should it never end, restart the agent"
            );
            Some((VERSION.to_owned(), Step::Refused(why)))
        }
    }))
}

/// Checks whether the new program is there and can take this one's place. Takes its time.
pub(crate) fn check(wanted: &Upgrade, config: &Path) -> Verdict {
    let refused = |why: String| Verdict::Now(Step::Refused(why));
    let read = |path: &Path, error: io::Error| {
        refused(format!("read {}: {}", path.display(), io_error(&error)))
    };
    let own = Path::new(OWN_BINARY);
    match program::is(own, wanted.size, wanted.sha256) {
        Ok(true) => return Verdict::Now(Step::Unchanged),
        Ok(false) => {}
        Err(error) => return read(own, error),
    }
    let program = match program::installed() {
        Ok(program) if program.to_str().is_some() => program,
        Ok(program) => return refused(format!("{}: this is not UTF-8 text", program.display())),
        Err(error) => return read(own, error),
    };
    if let Some(package) = checks::package(&program) {
        let shown = program.display();
        return refused(format!(
            "{shown} belongs to the package {package}: upgrade that, with the host's package manager"
        ));
    }
    let new = program::new(&program);
    match program::is(&new, wanted.size, wanted.sha256) {
        Ok(true) => {}
        Ok(false) => return Verdict::Now(Step::Send),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Verdict::Now(Step::Send),
        Err(error) => return read(&new, error),
    }
    let checked = checks::check(&new, config, wanted.downgrade);
    let step = match (checked, FileId::of(&new)) {
        (Ok(to), _) if to == VERSION && !wanted.downgrade => Step::Unchanged,
        (Ok(to), Ok(staged)) => return Verdict::Begin(Checked { program, staged, to }),
        (Ok(_), Err(error)) => return read(&new, error),
        (Err(why), _) => Step::Refused(why),
    };
    // One that stays does no harm.
    let _ = program::remove(&new);
    Verdict::Now(step)
}

/// Records the upgrade, and starts its guard. [`restart`] is to follow.
pub(crate) fn begin(
    checked: Checked,
    id: UpgradeId,
    asker: &Asker<'_>,
    config: &Config,
) -> Result<Step, String> {
    let state = &config.state;
    let limit = checks::limit(config);
    {
        let store = Store::lock(state).map_err(|error| io_error(&error))?;
        if store.load().is_some_and(|record| !record.is_over()) {
            return Err("another upgrade has just begun".to_owned());
        }
        store.save(&Record {
            format: FORMAT,
            id,
            owner: asker.owner,
            label: asker.label.to_owned(),
            from: VERSION.to_owned(),
            to: checked.to.clone(),
            program: checked.program,
            staged: checked.staged,
            boot: jobs::boot_id().map_err(|error| io_error(&error))?,
            since: milliseconds(),
            limit,
            phase: Phase::Checked,
            is_told: true,
        })?;
    }
    if let Err(why) = guard::start(state, unit::own().as_deref()) {
        let store = Store::lock(state).map_err(|error| io_error(&error))?;
        if let Some(mut record) = store.load().filter(|record| record.id == id) {
            let phase = record.restored(&*why);
            store.enter(&mut record, phase)?;
        }
        return Err(why);
    }
    Ok(Step::Begun { to: checked.to, limit_ms: limit })
}

/// Has systemd restart the agent. Returns whether it does; otherwise the agent stops by itself and calls [`execute`].
pub(crate) fn restart() -> bool {
    match unit::own().map(|unit| unit::restart(&unit)) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            warn!("systemd does not restart the agent: {}", io_error(&error));
            false
        }
        None => false,
    }
}

/// Executes the old program again, in the same process: it is still the one that the service manager, the shell or
/// the container has started. Returns only if that fails.
pub(crate) fn execute() -> io::Error {
    // Commands get the limit that the agent was started with.
    let _ = setrlimit(Resource::Nofile, descriptors::original());
    let mut command = itself(Path::new(OWN_BINARY));
    PASSED.iter().for_each(|variable| _ = command.env_remove(variable));
    command.exec()
}

/// A program with the arguments of this one.
fn itself(program: &Path) -> Command {
    let mut words = std::env::args_os();
    let mut command = Command::new(program);
    command.arg0(words.next().unwrap_or_else(|| "lariatd".into())).args(words);
    command
}

/// At the start of an agent, before it has opened anything: executes the new program if it is to be tried, and does
/// not return then. An upgrade that came to nothing is recorded.
pub(crate) fn at_start(config: &Path) -> Result<(), String> {
    // What is wrong with the configuration is told where it is used.
    let Ok(Config { state, .. }) = Config::load(config) else { return Ok(()) };
    if !Store::has_record(&state) {
        return Ok(());
    }
    let store = Store::lock(&state).map_err(|error| io_error(&error))?;
    let Some(mut record) = store.load() else { return Ok(()) };
    let now = Now::here(&record.program).map_err(|error| io_error(&error))?;
    match record.at_start(&now) {
        AtStart::Serve | AtStart::ServeOnTrial => Ok(()),
        AtStart::Settle(phase) => store.settle(&mut record, phase),
        AtStart::Launch => {
            store.enter(&mut record, Phase::Trial { process: now.me })?;
            drop(store);
            let error = itself(&program::new(&record.program)).exec();
            let store = Store::lock(&state).map_err(|error| io_error(&error))?;
            let why = format!("the new agent can't be started: {}", io_error(&error));
            let phase = Phase::Restored { why, process: None };
            store.settle(&mut record, phase)
        }
    }
}

/// Tells how an upgrade stands, and confirms it if this is the new agent.
pub(crate) fn asked(
    state: &Path,
    id: UpgradeId,
    owner: KeyId,
    audit: &Audit,
) -> Result<Standing, String> {
    if !Store::has_record(state) {
        return Ok(Standing::Unknown);
    }
    let store = Store::lock(state).map_err(|error| io_error(&error))?;
    let Some(mut record) = store.load() else { return Ok(Standing::Unknown) };
    let now = Now::here(&record.program).map_err(|error| io_error(&error))?;
    Ok(match record.when_asked(id, owner, &now) {
        WhenAsked::Unknown => Standing::Unknown,
        WhenAsked::Waiting => Standing::Waiting,
        WhenAsked::Confirmed => Standing::Confirmed,
        WhenAsked::Restored(why) => Standing::Restored(why),
        WhenAsked::Commit => {
            // It is, if only the record could not be written before.
            if now.installed != Some(record.staged) {
                program::install(&record.program).map_err(|error| {
                    format!("replace {}: {}", record.program.display(), io_error(&error))
                })?;
            }
            store.settle(&mut record, Phase::Confirmed)?;
            tell_of(&store, &mut record, audit)?;
            Standing::Confirmed
        }
    })
}

/// Writes the verdict of an upgrade into the audit and the log, unless it is there.
pub(crate) fn tell(state: &Path, audit: &Audit) -> Result<(), String> {
    if !Store::has_record(state) {
        return Ok(());
    }
    let store = Store::lock(state).map_err(|error| io_error(&error))?;
    match store.load() {
        Some(mut record) if record.is_over() && !record.is_told => {
            tell_of(&store, &mut record, audit)
        }
        _ => Ok(()),
    }
}

/// The verdict, as its line in the audit tells it.
#[derive(Serialize)]
struct Told<'a> {
    key: String,
    label: &'a str,
    path: String,
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn tell_of(store: &Store, record: &mut Record, audit: &Audit) -> Result<(), String> {
    let why = match &record.phase {
        Phase::Restored { why, .. } => Some(why),
        _ => None,
    };
    let Record { from, to, label, .. } = &*record;
    let told = Told {
        key: record.owner.to_string(),
        label,
        path: record.program.display().to_string(),
        from,
        to,
        error: why.map(|why| audit::text(why.as_bytes())),
    };
    match why {
        None => info!("upgraded from {from} to {to}"),
        Some(why) => warn!("not upgraded from {from} to {to}: {why}"),
    }
    audit.add(if why.is_none() { "upgraded" } else { "upgrade undone" }, &[&told]);
    record.is_told = true;
    // Last: a line that comes twice is better than none.
    store.save(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_is_told_what_was_before_and_others_wait() {
        let state = crate::private_directory();
        let id = UpgradeId([1; 16]);
        let own = Asker { owner: KeyId([2; 16]), label: "alice@box" };
        let other = Asker { owner: KeyId([3; 16]), label: "bob@laptop" };
        let known = |asker| known(state.path(), id, asker).unwrap();
        assert_eq!(known(&own), None);
        let mut record = Record {
            format: FORMAT,
            id,
            owner: own.owner,
            label: own.label.to_owned(),
            from: "0.0.1".to_owned(),
            to: "9.9.9".to_owned(),
            program: "/usr/local/bin/lariatd".into(),
            staged: FileId { device: 1, inode: 2 },
            boot: jobs::boot_id().unwrap(),
            since: 0,
            limit: 60_000,
            phase: Phase::Guarded,
            is_told: true,
        };
        let store = || Store::lock(state.path()).unwrap();
        store().save(&record).unwrap();
        let begun = Step::Begun { to: "9.9.9".to_owned(), limit_ms: 60_000 };
        assert_eq!(known(&own), Some(("0.0.1".to_owned(), begun)));
        let Some((_, Step::Refused(why))) = known(&other) else { panic!("it is under way") };
        assert!(why.contains("alice@box"), "{why}");
        record.phase = Phase::Confirmed;
        store().save(&record).unwrap();
        assert_eq!(known(&other), None);
    }
}
