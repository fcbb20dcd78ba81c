//! What is looked up for a request before it is decided.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use lariat_wire::protocol::connect::Connect;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{ConnectRequest, JobRequest, Request};
use lariat_wire::protocol::verb::Verb;

use super::act_as::ActAs;
use super::agent::Agent;
use crate::config::Config;
use crate::keyring::{Entry, Lined};
use crate::policy::networks::Peer;
use crate::policy::place::{Place, Reached};
use crate::policy::{Clock, Facts, acting_user};
use crate::program;
use crate::transport::{self, Origin};

/// How long a name may take to be looked up.
const RESOLVING: Duration = Duration::from_secs(5);

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
    own_port: u16,
    /// The addresses to connect to, or why there are none.
    pub(super) reached: Result<Vec<Reached>, Failure>,
}

/// What was looked up for a request that runs, and is not looked up again.
pub(super) struct Known<'a> {
    pub(super) act_as: &'a ActAs,
    pub(super) addresses: &'a [SocketAddr],
}

impl LookedUp {
    /// Looks up what the rules of this key need to know of a request from this origin, if it is known. Unless the user
    /// to act as is `known`, that may query a directory service.
    pub(super) fn new(
        agent: &Agent,
        origin: Option<&Origin>,
        key: &Entry,
        request: &Request,
        known: Option<&Known<'_>>,
    ) -> Self {
        let config = agent.config();
        let own = agent.user.name().into_owned();
        let name = acting_user(key, request);
        let may_be =
            |name: &str| key.users.as_ref().is_none_or(|users| users.iter().any(|one| one == name));
        let act_as = match (known, name) {
            (Some(known), _) => Ok(known.act_as.clone()),
            // It will be denied, and who there is on this host is not told.
            (None, Some(name)) if !may_be(name) => {
                Err(Failure::request(Cause::NotAsUser(name.to_owned())))
            }
            (None, name) => ActAs::named(&agent.user, name),
        };
        let program = key.commands.as_ref().and_then(|_| {
            let Request::Job(JobRequest::Run(run)) = request else { return None };
            program::look_up(run.command.words()?.first()?, config.exec.path.as_bytes())
        });
        let reached = match (known, request) {
            (Some(known), _) => Ok(known.addresses.to_vec()),
            (None, Request::Connect(ConnectRequest::Connect(connect)))
                if !takes_parked(agent, key, connect) =>
            {
                resolve(key, connect)
            }
            (None, _) => Ok(Vec::new()),
        };
        let reached = reached
            .map(|all| all.into_iter().map(|to| Reached::new(to, transport::is_own)).collect());
        Self {
            reached,
            is_local: origin.is_some_and(Origin::is_local),
            clock: agent.clock(),
            peer: key.networks.as_ref().and_then(|_| origin?.peer()),
            config,
            own,
            act_as,
            program,
            own_port: agent.own_port,
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
            reached: self.reached.as_deref().ok(),
            own_port: self.own_port,
        }
    }
}

/// Whether the key may take a connection that is parked here, so that no address is needed.
fn takes_parked(agent: &Agent, key: &Entry, connect: &Connect) -> bool {
    connect.parked.as_ref().is_some_and(|name| {
        let may =
            |places: &Lined<Vec<Lined<Place>>>| places.iter().any(|place| place.is_parked(name));
        key.connect.as_ref().is_none_or(may) && agent.parking.has(name)
    })
}

/// The addresses of the host to connect to, if the key may connect to it at all. A resolver that hangs is given up.
fn resolve(key: &Entry, connect: &Connect) -> Result<Vec<SocketAddr>, Failure> {
    let Connect { parked: _, host, port, bare: _ } = connect;
    if host.is_empty() {
        return Ok(Vec::new());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, *port)]);
    }
    let places = key.connect.as_ref();
    if !key.verbs.contains(Verb::Connect)
        || places.is_some_and(|places| !places.iter().any(|place| place.may_cover(host, *port)))
    {
        return Ok(Vec::new());
    }
    let failed = |cause| Failure { path: Some(host.clone().into()), ..Failure::request(cause) };
    let (found, finding) = std::sync::mpsc::channel();
    let name = (host.clone(), *port);
    let look_up = move || {
        // Nobody waits any longer.
        let _ = found.send(name.to_socket_addrs().map(Iterator::collect));
    };
    let started = std::thread::Builder::new().name("resolver".into()).spawn(look_up);
    started.map_err(|_| failed(Cause::Internal))?;
    match finding.recv_timeout(RESOLVING) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(_)) => {
            Err(failed(Cause::BadRequest("no address of this name is known here".into())))
        }
        Err(_) => {
            Err(failed(Cause::BadRequest("its address could not be looked up in 5 s".into())))
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
    Facts {
        file: file(config, false),
        clock,
        peer,
        own: "",
        home: None,
        program: None,
        reached: None,
        own_port: 0,
    }
}
