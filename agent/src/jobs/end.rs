//! Ends a job whose key may not run it any longer.

use std::time::Duration;

use tokio::time::timeout;

use super::channel::{Signal, ToSupervisor};
use super::connection::Event;
use super::find::{Found, JobStatus};
use super::name::JobName;
use super::start::{Jobs, StartError};

/// How long the processes of a job may take to end before they are killed.
const PATIENCE: Duration = Duration::from_millis(400);

const SIGKILL: u8 = 9;

impl Jobs {
    /// Ends all processes of a job, and returns when that was done. A job that has ended already is no error. Needs a
    /// tokio runtime around it.
    pub async fn end(&self, job: JobName) -> Result<(), StartError> {
        let Some(Found { status: JobStatus::Alive(mut events, commands, _), .. }) =
            self.find(Some(job.key), job.id).await?
        else {
            return Ok(());
        };
        // A supervisor that is gone has no processes left. One that is told so stays until all of them have ended.
        if commands.say(&ToSupervisor::End(())).await.is_err() {
            return Ok(());
        }
        let ended = async { while !matches!(events.next().await, Ok(Event::Exit(_)) | Err(_)) {} };
        let _ = timeout(PATIENCE, ended).await;
        let kill = ToSupervisor::Signal(Signal { number: SIGKILL, once: [0; 16] });
        if commands.say(&kill).await.is_ok() && commands.finish().is_ok() {
            while events.next().await.is_ok() {}
        }
        Ok(())
    }
}
