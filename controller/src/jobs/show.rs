//! What is said of a job: in a table, in an object, in a few words.

use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_wire::protocol::exec::End;
use lariat_wire::protocol::job::{Job, State};

use crate::output::json::JobResult;

/// Hexadecimal digits of an id that people are shown: enough to tell thousands apart.
const SHOWN: usize = 12;

/// A job's id, as people are shown it.
pub(crate) fn short(job: &Job) -> String {
    let mut id = job.job.to_string();
    id.truncate(SHOWN);
    id
}

/// What has become of a job, in a word or two.
pub(crate) fn state(state: State) -> String {
    match state {
        State::Running => "running".to_owned(),
        State::Ended(End::Exited(status)) => format!("exit {status}"),
        State::Ended(End::Signaled(signal)) => format!("signal {signal}"),
        State::Ended(End::TimedOut) => "timed out".to_owned(),
        State::Ended(End::NotRun(_)) => "not run".to_owned(),
        State::Ended(End::GraceExpired) => "ended, controller away".to_owned(),
        State::Ended(End::Stopped) => "ended with the host".to_owned(),
        State::Died { with_host: true } => "died with the host".to_owned(),
        State::Died { with_host: false } => "died".to_owned(),
    }
}

/// A command in one line, made harmless; of several lines the first.
pub(crate) fn command(job: &Job) -> String {
    let mut lines = job.command.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first = escape(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} ...") } else { first }
}

/// A job as an object; `now_ms` is the time of its host.
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

/// How long a job has run, or ran; of one that died nobody knows.
pub(crate) fn lasted(job: &Job, now_ms: u64) -> Option<Duration> {
    let end = match job.state {
        State::Running => Some(now_ms),
        State::Ended(_) => job.ended_ms,
        State::Died { .. } => None,
    };
    end.map(|end| Duration::from_millis(end.saturating_sub(job.began_ms)))
}

/// A time in its two largest units.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
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
