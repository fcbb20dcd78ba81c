//! Formats jobs for tables, objects and messages.

use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_wire::protocol::exec::End;
use lariat_wire::protocol::job::{Job, State};

use crate::output::json::JobResult;
use crate::signal_name::signal_name;

/// Hexadecimal digits of an id that are shown: enough to distinguish thousands.
const SHOWN: usize = 12;

/// A shortened job id.
pub(crate) fn short(job: &Job) -> String {
    let mut id = job.job.to_string();
    id.truncate(SHOWN);
    id
}

/// A job's state in a word or two.
pub(crate) fn state(state: State) -> String {
    match state {
        State::Running => "running".to_owned(),
        State::Ended(End::Exited(status)) => format!("exit {status}"),
        State::Ended(End::Signaled(signal)) => signal_name(signal),
        State::Ended(End::TimedOut) => "timed out".to_owned(),
        State::Ended(End::NotRun(_)) => "not run".to_owned(),
        State::Ended(End::GraceExpired) => "ended, controller away".to_owned(),
        State::Ended(End::Stopped) => "ended with the host".to_owned(),
        State::Died { with_host: true } => "died with the host".to_owned(),
        State::Died { with_host: false } => "died".to_owned(),
    }
}

/// Whether a job has ended without success.
pub(crate) fn has_failed(state: State) -> bool {
    !matches!(state, State::Running | State::Ended(End::Exited(0)))
}

/// The first line of a command, with control characters escaped.
pub(crate) fn command(job: &Job) -> String {
    let mut lines = job.command.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first = escape(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} ...") } else { first }
}

/// A job as an object; `now_ms` is its host's time.
pub(crate) fn object<'a>(host: &'a HostName, job: &'a Job, now_ms: u64) -> JobResult<'a> {
    let (name, end) = match job.state {
        State::Running => ("running", None),
        State::Ended(end) => ("ended", Some(end)),
        State::Died { .. } => ("died", None),
    };
    let exit = end.filter(|end| !matches!(end, End::NotRun(_))).map(End::status);
    let signal = match end {
        Some(End::Signaled(signal)) => Some(signal),
        _ => None,
    };
    JobResult {
        job: Some(job.job.to_string()),
        key: Some(job.key.to_string()),
        state: Some(name),
        exit,
        signal,
        detached: job.detached,
        user: job.user.as_deref(),
        command: &job.command,
        started: Some(job.began_ms / 1000),
        seconds: lasted(job, now_ms).map(|time| time.as_secs_f64()),
        ..JobResult::none(host)
    }
}

/// How long a job has run; unknown for a job that died.
pub(crate) fn lasted(job: &Job, now_ms: u64) -> Option<Duration> {
    let end = match job.state {
        State::Running => Some(now_ms),
        State::Ended(_) => job.ended_ms,
        State::Died { .. } => None,
    };
    end.map(|end| Duration::from_millis(end.saturating_sub(job.began_ms)))
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{JobId, KeyId};

    use super::*;

    #[test]
    fn a_command_is_shown_in_one_harmless_line() {
        let job = Job {
            job: JobId([1; 16]),
            key: KeyId([1; 16]),
            detached: true,
            began_ms: 0,
            ended_ms: None,
            user: None,
            command: b"make\ttea\n\nsoon".to_vec(),
            state: State::Running,
        };
        assert_eq!(command(&job), "make\\x09tea ...");
    }
}
