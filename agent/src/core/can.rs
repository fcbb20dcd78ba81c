//! `can`: decides on a request that is not made.

use std::sync::Arc;

use lariat_wire::protocol::Kind;
use lariat_wire::protocol::can::{Asked, Verdict};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{FileRequest, Request};

use super::act_as::ActAs;
use super::looked_up::LookedUp;
use super::permit::Permit;
use super::session::Session;
use crate::keyring::Entry;
use crate::policy::{self, Confinement, Denial, join};

/// What the rules say of a request.
pub struct Answer {
    /// Whether they permit it.
    pub verdict: Verdict,
    /// What is still to be looked at, by the user that it would be made as.
    pub way: Option<Way>,
}

/// The way of a request that is confined to a directory.
pub struct Way {
    /// The request.
    pub request: FileRequest,
    /// The directory.
    pub root: Confinement,
    /// Who looks.
    pub act_as: ActAs,
}

impl Permit<'_> {
    /// The key that is asked about: the one that asks, or another of the keyring.
    pub fn key_named(&self, name: Option<&str>) -> Result<Arc<Entry>, Failure> {
        // As in the decision on the question: others are looked for only if that was about others.
        let Some(name) = name.filter(|name| !self.key.is_named(name)) else {
            return Ok(Arc::clone(&self.key));
        };
        let keyring = self.session.agent.keyring();
        let key = keyring.named(name).map_err(|problem| Failure::request(Cause::Key(problem)))?;
        Ok(Arc::clone(key))
    }
}

impl Session {
    /// Decides whether a key may make a request. Where it would come from is known only of the session's own key.
    pub fn can(&self, key: &Entry, asked: &Asked) -> Result<Answer, Failure> {
        let kind = Kind::try_from(asked.kind).map_err(|error| bad(&error.to_string()))?;
        let request = Request::decode(kind, &asked.payload).map_err(|e| bad(&e.to_string()))?;
        request.check()?;
        let origin = (key.owner == self.key.owner).then_some(&self.origin);
        let looked_up = LookedUp::new(&self.agent, origin, key, &request, None);
        let facts = looked_up.facts();
        match policy::decide(key, &request, &facts) {
            Ok(grant) => {
                let rule = facts.at(grant.line);
                // A request as a user that does not exist would fail, though no rule denies it.
                let act_as = looked_up.act_as?;
                if !grant.parked {
                    looked_up.reached?;
                }
                let networks = key.networks.as_ref().filter(|_| origin.is_none());
                let why = networks.map(|networks| format!("only from {}", join(networks.iter())));
                let verdict = Verdict { allowed: true, rule, why: why.unwrap_or_default() };
                let way = match (grant.root, request) {
                    (Some(root), Request::File(request)) => Some(Way { request, root, act_as }),
                    _ => None,
                };
                Ok(Answer { verdict, way })
            }
            Err(Denial { rule, why, .. }) => {
                let rule = rule.as_str().to_owned();
                Ok(Answer { verdict: Verdict { allowed: false, rule, why }, way: None })
            }
        }
    }

    /// Everything that a key may do.
    pub fn rules_of(&self, key: &Entry) -> Vec<String> {
        let config = self.agent.config();
        let is_own = key.owner == self.key.owner;
        policy::describe(key, super::looked_up::file(&config, is_own && self.is_local()))
    }
}

fn bad(why: &str) -> Failure {
    Failure::request(Cause::BadRequest(why.to_owned()))
}
