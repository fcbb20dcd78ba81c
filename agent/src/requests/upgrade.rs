//! `upgrade`: another version takes the agent's place.

use std::sync::Arc;
use std::time::Duration;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::AgentRequest;
use lariat_wire::protocol::transfer::{Destination, ModeChange, Overrides, Push};
use lariat_wire::protocol::upgrade::{SendAgent, Standing, Step, Upgrade, UpgradeState, Upgrading};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

use super::{examine, push};
use crate::core::{Outcome, Permit, Session};
use crate::files::Files;
use crate::lanes::Lanes;
use crate::transport::SessionLink;
use crate::upgrade::{self, Asker, VERSION, Verdict};

/// The mode of the new program.
const MODE: u32 = 0o755;

/// How long the controller may take to read the answer before the agent stops.
const ANSWER: Duration = Duration::from_secs(2);

/// Takes a new program, starts an upgrade, or confirms one.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: AgentRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    match request {
        AgentRequest::Upgrade(wanted) => begin(link, wanted, permit, session).await,
        AgentRequest::SendAgent(sent) => {
            let outcome = receive(link, sent, session).await?;
            permit.finish(link.outbox(), &outcome)
        }
        AgentRequest::Examine(_) => examine::serve(link, permit, session).await,
        AgentRequest::Confirm(confirm) => {
            let agent = &session.agent;
            let asked = upgrade::asked(&agent.state, confirm.id, session.owner(), &agent.audit);
            let outcome = match asked {
                Ok(standing) => {
                    let version = VERSION.to_owned();
                    let done = match &standing {
                        Standing::Unknown => "unknown",
                        Standing::Waiting => "to be asked again",
                        Standing::Confirmed => "confirmed",
                        Standing::Restored(_) => "this one is back",
                    };
                    link.outbox().post(&UpgradeState { version, standing })?;
                    Outcome::Done(done.to_owned().into())
                }
                Err(why) => failed(why),
            };
            permit.finish(link.outbox(), &outcome)
        }
    }
}

async fn begin(
    link: &mut SessionLink,
    wanted: Upgrade,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (agent, config) = (&session.agent, session.agent.config());
    let asker = Asker { owner: session.owner(), label: &session.key.label };
    let id = wanted.id;
    let step = match upgrade::known(&agent.state, id, &asker) {
        Ok(Some((from, step))) => Ok((from, step, false)),
        Ok(None) => match checked(link, wanted, session).await? {
            Ok(Verdict::Now(step)) => Ok((VERSION.to_owned(), step, false)),
            Ok(Verdict::Begin(checked)) => {
                let begun = upgrade::begin(checked, id, &asker, &config);
                begun.map(|step| (VERSION.to_owned(), step, true))
            }
            Err(cause) => {
                return permit.finish(link.outbox(), &Outcome::Failed(Failure::request(cause)));
            }
        },
        Err(why) => Err(why),
    };
    let (version, step, has_begun) = match step {
        Ok(step) => step,
        Err(why) => return permit.finish(link.outbox(), &failed(why)),
    };
    let outcome = match &step {
        Step::Send => Outcome::Done("the new agent is to be sent".to_owned().into()),
        Step::Unchanged => Outcome::Done("it is this one".to_owned().into()),
        Step::Refused(why) => Outcome::Over(why.clone()),
        Step::Begun { to, .. } => Outcome::Done(format!("{version} to {to}").into()),
    };
    let told = link.outbox().post(&Upgrading { version, step });
    let told = told.and(permit.finish(link.outbox(), &outcome));
    if has_begun {
        // The controller asks again if it does not get this.
        let _ = timeout(ANSWER, link.writer.flush()).await;
        if !spawn_blocking(upgrade::restart).await.unwrap_or_default() {
            agent.replaced.notify_one();
        }
    }
    told
}

/// Checks the new program on a thread of its own, for it takes its time.
async fn checked(
    link: &mut SessionLink,
    wanted: Upgrade,
    session: &Session,
) -> Result<Result<Verdict, Cause>, LinkError> {
    let config = session.agent.config_path.clone();
    let checking = spawn_blocking(move || upgrade::check(&wanted, &config));
    tokio::select! {
        checked = checking => Ok(checked.map_err(|_| Cause::Internal)),
        () = session.stopped() => Ok(Err(session.stop_cause().unwrap_or(Cause::Stopping))),
        frame = link.next() => Err(match frame? {
            Some(frame) => LinkError::Unexpected(frame.kind),
            None => LinkError::Cut,
        }),
    }
}

/// Receives the new program, as a file that is pushed.
async fn receive(
    link: &mut SessionLink,
    sent: SendAgent,
    session: &Session,
) -> Result<Outcome, LinkError> {
    let path = match upgrade::destination() {
        Ok(path) => path.into_os_string().into_encoded_bytes(),
        Err(error) => {
            let failure = Failure::io(Action::Create, b"the agent's program", &error);
            return Ok(Outcome::Failed(failure));
        }
    };
    let SendAgent { transfer, offer } = sent;
    let overrides = Overrides { mode: Some(ModeChange::exactly(MODE)), ..Overrides::default() };
    let push = Push {
        transfer,
        dest: Destination { path, name: b"lariatd".to_vec() },
        offer,
        overrides,
        preserve: Preserve::default(),
        dry_run: false,
        user: None,
    };
    let user = &session.agent.user;
    let files = Files {
        key: session.owner(),
        uid: user.uid,
        home: user.home().to_owned(),
        root: None,
        transfers: session.agent.transfers.clone(),
        // A key that may replace the agent needs no right to push, which lanes would need.
        lanes: Lanes::default(),
        // It is no transfer that the status tells of.
        meter: Arc::default(),
        stop: session.stop.subscribe(),
    };
    push::serve(link, push, &files).await
}

fn failed(why: String) -> Outcome {
    warn!("upgrade: {why}");
    Outcome::Failed(Failure::request(Cause::BadRequest(why)))
}
