//! What is looked up for a request before it is decided.

use std::ffi::OsStr;
use std::sync::Arc;

use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{JobRequest, Request};

use super::act_as::ActAs;
use super::agent::Agent;
use crate::config::Config;
use crate::keyring::Entry;
use crate::policy::networks::Peer;
use crate::policy::{Clock, Facts, acting_user, argv};
use crate::program;
use crate::transport::Origin;

/// What is looked up for a request.
pub(super) struct LookedUp {
    config: Arc<Config>,
    /// A local session's rules are in the configuration.
    is_local: bool,
    clock: Clock,
    peer: Option<Peer>,
    own: String,
    /// The user to act as, or why there is none.
    pub(super) act_as: Result<ActAs, Failure>,
    program: Option<Vec<u8>>,
}

impl LookedUp {
    /// Looks up what the rules of this key need to know of a request from this origin, if it is known. Unless the user
    /// to act as is `known`, that may query a directory service.
    pub(super) fn new(
        agent: &Agent,
        origin: Option<&Origin>,
        key: &Entry,
        request: &Request,
        known: Option<&ActAs>,
    ) -> Self {
        let config = agent.config();
        let own = agent.user.name().into_owned();
        let name = acting_user(key, request);
        let may_be =
            |name: &str| key.users.as_ref().is_none_or(|users| users.iter().any(|one| one == name));
        let act_as = match (known, name) {
            (Some(known), _) => Ok(known.clone()),
            // It will be denied, and who there is on this host is not told.
            (None, Some(name)) if !may_be(name) => {
                Err(Failure::request(Cause::NotAsUser(name.to_owned())))
            }
            (None, name) => ActAs::named(&agent.user, name),
        };
        let program = key.commands.as_ref().and_then(|_| {
            let Request::Job(JobRequest::Run(run)) = request else { return None };
            program::look_up(argv(&run.command)?.first()?, config.exec.path.as_bytes())
        });
        Self {
            is_local: origin.is_some_and(Origin::is_local),
            clock: agent.clock(),
            peer: key.networks.as_ref().and_then(|_| origin?.peer()),
            config,
            own,
            act_as,
            program,
        }
    }

    /// The facts for the decision.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            file: file(&self.config, self.is_local),
            clock: self.clock,
            peer: self.peer,
            own: &self.own,
            home: self.act_as.as_ref().ok().map(|act_as| act_as.user().home.as_slice()),
            program: self.program.as_deref(),
        }
    }
}

/// The name of the file with the rules.
pub(super) fn file(config: &Config, is_local: bool) -> &str {
    let keyring = config.keyring.file_name().and_then(OsStr::to_str);
    if is_local { "agent.toml" } else { keyring.unwrap_or("keyring.toml") }
}

/// The facts for a login of this key.
pub fn at_login<'a>(config: &'a Config, clock: Clock, origin: &Origin, key: &Entry) -> Facts<'a> {
    let peer = key.networks.as_ref().and_then(|_| origin.peer());
    Facts { file: file(config, false), clock, peer, own: "", home: None, program: None }
}
