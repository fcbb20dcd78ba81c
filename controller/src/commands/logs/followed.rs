//! Attaching to a job that was not detached: its controller has gone, or was away for too long, and what it
//! has not heard is kept for a while.

use lariat_client::HostHandle;
use lariat_client::run::{Connections, Job, Outcome, Signals, resume};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::job::{Job as Listed, State};
use tokio::io::AsyncWrite;

use super::object;
use crate::capture::Capture;
use crate::commands::report;
use crate::error::CliError;
use crate::output;
use crate::stdio::LocalOutput;

/// Prints what is left of its output, follows it to its end, and tells how that was.
pub(super) async fn read(
    handle: &HostHandle,
    listed: &Listed,
    json: bool,
) -> Result<State, CliError> {
    if json {
        let job = Job::new(Capture::default(), Capture::default());
        let state = follow(handle, listed, &job).await?;
        let listed = Listed { state, ..listed.clone() };
        let now_ms = listed.ended_ms.unwrap_or(listed.began_ms);
        output::bytes(&object(handle.name(), &listed, now_ms, job.into_outputs())?)?;
        return Ok(state);
    }
    let local = |error| CliError::from(error).during("write output");
    let stdout = LocalOutput::stdout().map_err(local)?;
    let stderr = LocalOutput::stderr().map_err(local)?;
    follow(handle, listed, &Job::new(stdout, stderr)).await
}

async fn follow<O, E>(
    handle: &HostHandle,
    listed: &Listed,
    job: &Job<O, E>,
) -> Result<State, CliError>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let request = looked_for(listed, handle);
    let (mut connections, mut signals) = (Connections::new(handle), Signals::none());
    let outcome = resume(&mut connections, &mut signals, &request, None, job).await;
    connections.finish().await;
    match outcome {
        Outcome::Ended(end) => Ok(State::Ended(end)),
        outcome => Err(report::error("attach", &outcome, handle, &request)
            .unwrap_or_else(|| CliError::new("left").quiet())),
    }
}

/// Names the job; what it runs is not asked for again.
fn looked_for(listed: &Listed, handle: &HostHandle) -> Run {
    Run {
        job: listed.job,
        command: Command::Shell(listed.command.clone()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: u64::try_from(handle.reconnect().as_millis()).unwrap_or(u64::MAX),
    }
}
