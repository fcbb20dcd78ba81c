//! The upgrade of one host: ask, send, and log in to the new agent until the host says how it ended.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_base::escape::escape;
use lariat_base::name::{HostName, UpgradeId};
use lariat_client::transfer::{AttemptError, FilePush, GaveUp, Moved, Reason, Transfer, Transfers};
use lariat_client::{HostHandle, Session};
use lariat_engine::{TransferError, Unwatched};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{Destination, Overrides, Sending};
use lariat_wire::protocol::upgrade::{
    Confirm, SendAgent, Standing, Step, Upgrade, UpgradeState, Upgrading,
};
use serde::Serialize;
use tokio::time::sleep;

use super::program::Program;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, within};
use crate::output::json;
use crate::status::SOME_FAILED;
use crate::transfer::{failed_end, said};

/// How long a host may take beyond the time that the new agent has, to end it and to start the old one.
const SPARE: Duration = Duration::from_secs(45);

/// The wait between two questions to a host.
const PAUSE: Duration = Duration::from_millis(200);

/// The file is sent, and asked for once more if another upgrade has removed it meanwhile.
const MOST_SENT: u32 = 2;

/// The work on each host.
pub(super) struct UpgradeWork {
    pub(super) program: Program,
    pub(super) downgrade: bool,
    pub(super) json: bool,
    /// The time limit of a host.
    pub(super) limit: Option<Duration>,
}

/// The host's verdict.
pub(super) struct Outcome {
    before: String,
    after: String,
    /// Why the host keeps its agent, unless it has the new one.
    refused: Option<String>,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added<'a> {
    changed: bool,
    before: Option<&'a str>,
    after: Option<&'a str>,
}

impl HostWork for UpgradeWork {
    type Outcome = (Outcome, bool);
    /// How many agents were replaced.
    type Total = usize;

    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed> {
        let (handle, has_begun) = (&host.handle, Cell::new(false));
        within(self.limit, handle, async {
            tokio::select! {
                outcome = Box::pin(self.upgrade(handle, &has_begun)) => {
                    Ok((outcome?, has_begun.get()))
                }
                () = host.outlet.interrupted() => Err(interrupted(has_begun.get())),
            }
        })
        .await
    }

    fn report(
        &self,
        total: &mut usize,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended) {
        let (Outcome { before, after, refused }, changed) = match outcome {
            Ok(outcome) => outcome,
            Err(failed) => {
                return self.failed(self.json, host, CliError::from(failed).during("upgrade"));
            }
        };
        let changed = changed && refused.is_none();
        *total += usize::from(changed);
        let error = refused.map(|why| CliError::new(why).during(host).during("upgrade"));
        let line = if self.json {
            let end = if error.is_none() { End::Ok } else { End::Failed };
            let added = Added { changed, before: Some(&before), after: Some(&after) };
            json::result(host, end, error.as_ref().map(CliError::line), added)
        } else if error.is_none() {
            let told = if changed {
                format!("upgraded, {before} -> {after}")
            } else {
                format!("unchanged, {after}")
            };
            Ok(format!("{host}: {}\n", escape(told.as_bytes())).into_bytes())
        } else {
            Ok(Vec::new())
        };
        match (line, error) {
            (Ok(line), None) => (line, Ended::ok()),
            (Ok(line), Some(error)) => {
                let status = Some(SOME_FAILED);
                (line, Ended { status, ..Ended::failed(End::Failed, error) })
            }
            (Err(error), _) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }

    fn sum(&self, total: &usize, _: Duration) -> Option<String> {
        Some(format!("{total} upgraded"))
    }
}

impl UpgradeWork {
    async fn upgrade(
        &self,
        handle: &HostHandle,
        has_begun: &Cell<bool>,
    ) -> Result<Outcome, Failed> {
        let id = UpgradeId::generate().map_err(CliError::from)?;
        let Program { size, sha256, .. } = self.program;
        let request = Upgrade { id, size, sha256, downgrade: self.downgrade };
        let mut sent = 0;
        loop {
            let (session, Upgrading { version, step }) =
                handle.ask(&request, Session::answer).await?;
            session.leave().await;
            let stays =
                |refused| Outcome { before: version.clone(), after: version.clone(), refused };
            match step {
                Step::Send if sent < MOST_SENT => {
                    self.send(handle).await?;
                    sent += 1;
                }
                Step::Send => {
                    let error = CliError::new("what it was sent is gone again");
                    return Err(error.during(handle.place()).into());
                }
                // It was asked for what was sent, so it is not that program which runs there.
                Step::Unchanged if sent > 0 => {
                    let why = format!(
                        "another build of {version} runs there; try: --downgrade, to install this one"
                    );
                    return Ok(stays(Some(why)));
                }
                Step::Unchanged => return Ok(stays(None)),
                Step::Refused(why) => return Ok(stays(Some(why))),
                Step::Begun { to, limit_ms } => {
                    has_begun.set(true);
                    let limit = Duration::from_millis(limit_ms) + SPARE;
                    return confirm(handle, Confirm { id }, limit, version, &to).await;
                }
            }
        }
    }

    /// Sends the new agent, in as many attempts as necessary.
    async fn send(&self, handle: &HostHandle) -> Result<(), Failed> {
        // The agent knows itself where it goes.
        let dest = Destination { path: b"lariatd".to_vec(), name: b"lariatd".to_vec() };
        let (preserve, overrides) = (Preserve::default(), Overrides::default());
        let file = self.program.source();
        let push = FilePush::new(file, dest, preserve, overrides, None, Sending::default());
        let push = push.map_err(CliError::from)?;
        let request =
            SendAgent { transfer: push.request.transfer, offer: push.request.offer.clone() };
        let mut transfers = Transfers::new(handle);
        let moved = transfers.run(&mut Sent { push, request }).await;
        transfers.close().await;
        moved.map(drop).map_err(|GaveUp { error, reason, .. }| {
            let end = failed_end(&error);
            let error = match error {
                // What helps a push may not be said here.
                AttemptError::Refused(failure)
                | AttemptError::Transfer(TransferError::Remote(failure)) => failure.into(),
                error => said(error, false),
            };
            let error = error.during(format!("send it to {}", handle.place()));
            let again = "run the same command again to continue";
            Failed { end, error: if reason == Reason::Final { error } else { error.next(again) } }
        })
    }
}

/// Logs in to the new agent, and asks how the upgrade stands until it is over.
async fn confirm(
    handle: &HostHandle,
    request: Confirm,
    limit: Duration,
    before: String,
    to: &str,
) -> Result<Outcome, Failed> {
    let until = Instant::now() + limit;
    loop {
        let failed: Option<Failed> = match handle.ask(&request, Session::answer).await {
            Ok((session, UpgradeState { version, standing })) => {
                session.leave().await;
                match standing {
                    Standing::Confirmed => {
                        return Ok(Outcome { before, after: version, refused: None });
                    }
                    Standing::Restored(why) => {
                        let refused = Some(format!("{version} is back: {why}"));
                        return Ok(Outcome { before, after: version, refused });
                    }
                    Standing::Unknown => {
                        Some(CliError::new("it knows nothing of its upgrade").into())
                    }
                    Standing::Waiting => None,
                }
            }
            Err(error) => Some(error.into()),
        };
        if Instant::now() >= until {
            let failed = failed.unwrap_or_else(|| CliError::new("it does not stop").into());
            let what = format!("neither {before} nor {to} answers as it should");
            return Err(Failed { end: failed.end, error: failed.error.during(what) });
        }
        sleep(PAUSE).await;
    }
}

fn interrupted(has_begun: bool) -> Failed {
    if !has_begun {
        return Failed::interrupted();
    }
    let error =
        CliError::new("interrupted; unless the new agent was confirmed, the old one will be back");
    Failed { end: End::Unfinished, error }
}

/// The new agent, on its way.
struct Sent {
    push: FilePush,
    request: SendAgent,
}

impl Transfer for Sent {
    type Request = SendAgent;

    fn request(&self) -> &SendAgent {
        &self.request
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        self.push.attempt(session, &Unwatched, moved).await
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        true
    }

    fn can_be_left(&self) -> bool {
        true
    }
}
