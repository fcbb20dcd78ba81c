//! The one function that decides what a key may do.
//!
//! It is pure, and its matches are exhaustive: a new request does not compile until its permission is decided here.

use std::net::SocketAddr;

use lariat_base::escape::escape;
use lariat_wire::protocol::connect::{Connect, Park};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::listen::Listen;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::{
    ConnectRequest, FileRequest, JobRequest, KeyRequest, Request, RuleRequest,
};
use lariat_wire::protocol::transfer::Overrides;
use lariat_wire::protocol::verb::Verb;

use super::confinement::Confinement;
use super::denial::{Denial, Rule};
use super::facts::Facts;
use super::networks;
use super::path::{self, Root};
use super::place::Reached;
use crate::keyring::{Entry, Lined};

/// Setuid, setgid and sticky.
const SPECIAL: u32 = 0o7000;

/// What a rule permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The line of the rule in the keyring; 0 if it is in none.
    pub line: usize,
    /// The directory to which the file work is confined.
    pub root: Option<Confinement>,
    /// The program to run, if a rule names it: it is run whatever else the request would have run.
    pub program: Option<Program>,
    /// Whether the controller may send a command input, or change its terminal.
    pub input: bool,
    /// The addresses to connect to, none of which is looked up again.
    pub addresses: Vec<SocketAddr>,
    /// Whether a connection that the host in question has parked here may be taken.
    pub parked: bool,
}

/// A program with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path, which is not looked up again.
    pub path: Vec<u8>,
    /// The command's words, its name first.
    pub words: Vec<Vec<u8>>,
}

/// A rule, and what it has against a request.
type Objection = (Rule, String);

/// Whether a request is served with the rights of a user that it names. A job has its own user, and a lane joins a
/// transfer that has been permitted.
fn acts_as_user(request: &Request) -> bool {
    match request {
        Request::Job(request) => match request {
            JobRequest::Run(_) => true,
            JobRequest::Attach(_)
            | JobRequest::List(_)
            | JobRequest::Logs(_)
            | JobRequest::Kill(_) => false,
        },
        Request::File(request) => match request {
            FileRequest::Push(_)
            | FileRequest::PushTree(_)
            | FileRequest::Pull(_)
            | FileRequest::Clean(_) => true,
            FileRequest::Lane(_) => false,
        },
        Request::Connect(request) => match request {
            ConnectRequest::Connect(_)
            | ConnectRequest::Park(_)
            | ConnectRequest::Listen(_)
            | ConnectRequest::Take(_) => false,
            ConnectRequest::ConnectUnix(_) => true,
        },
        // Audit, keyring, rules, certificate and the agent itself are the agent's own.
        Request::Audit(_)
        | Request::Key(_)
        | Request::Certificate(_)
        | Request::Agent(_)
        | Request::Sight(_)
        | Request::Rule(RuleRequest::Can(_)) => false,
    }
}

/// The user that a request is served as, if not the agent's own. A key that may act as exactly one user acts as
/// that one by default.
pub fn acting_user<'a>(key: &'a Entry, request: &'a Request) -> Option<&'a str> {
    let only = match key.users.as_deref().map(Vec::as_slice) {
        Some([only]) => Some(only.as_str()),
        Some(_) | None => None,
    };
    if acts_as_user(request) { request.user().or(only) } else { None }
}

/// Whether a key may be used at this time, from where its controller is. A session may outlive both, so they are
/// checked for each request, not only at the login.
pub fn admit(key: &Entry, facts: &Facts<'_>) -> Result<(), Objection> {
    if !key.is_current(facts.clock) {
        let why = if !facts.clock.is_set {
            "this host's clock is not set, and the key has dates"
        } else if key.not_before.is_some_and(|start| facts.clock.now < start) {
            "its time has not begun"
        } else {
            "its time is over"
        };
        return Err((Rule::Dates, why.to_owned()));
    }
    match (&key.networks, facts.peer) {
        (Some(networks), Some(peer)) if !networks::include(networks, peer) => {
            let why = format!("{} has not {}", facts.at(networks.line), peer.address);
            Err((Rule::Networks, why))
        }
        _ => Ok(()),
    }
}

/// Decides whether `key` may make `request`.
pub fn decide(key: &Entry, request: &Request, facts: &Facts<'_>) -> Result<Grant, Denial> {
    let verb = verb(key, request);
    let denied = |(rule, why)| Denial { verb, rule, why };
    admit(key, facts).map_err(denied)?;
    if let Some(host) = &key.park
        && !matches!(request, Request::Connect(ConnectRequest::Park(_)))
    {
        let why = format!("{} only parks connections of {}", facts.at(host.line), host.value);
        return Err(denied((Rule::Park, why)));
    }
    if !key.verbs.contains(verb) && !is_free(key, request) {
        let why = format!("{} has no {verb}", facts.at(key.verbs.line));
        return Err(denied((Rule::Verbs, why)));
    }
    let user = acting_user(key, request).unwrap_or(facts.own);
    if let Some(users) = key.users.as_ref().filter(|_| acts_as_user(request))
        && !users.iter().any(|listed| listed == user)
    {
        let why = format!("{} has no {}", facts.at(users.line), escape(user.as_bytes()));
        return Err(denied((Rule::Users, why)));
    }
    let input = key.commands.is_none() || key.stdin;
    let line = key.verbs.line;
    let (addresses, parked) = (Vec::new(), false);
    let granted = Grant { line, root: None, program: None, input, addresses, parked };
    match request {
        Request::Job(request) => match request {
            JobRequest::Run(run) => command(key, run, facts, granted),
            // A job was permitted when it was started; its owner is checked where it is looked up.
            JobRequest::Attach(_)
            | JobRequest::List(_)
            | JobRequest::Logs(_)
            | JobRequest::Kill(_) => Ok(granted),
        },
        Request::File(request) => {
            let asked = match request {
                FileRequest::Push(push) => Asked {
                    path: &push.dest.path,
                    preserve: push.preserve,
                    overrides: Some(&push.overrides),
                    rule: (Rule::Push, key.push.as_ref()),
                },
                FileRequest::PushTree(push) => Asked {
                    path: &push.dest.path,
                    preserve: push.options.preserve,
                    overrides: Some(&push.overrides),
                    rule: (Rule::Push, key.push.as_ref()),
                },
                FileRequest::Pull(pull) => Asked {
                    path: &pull.source,
                    preserve: pull.tree.as_ref().map(|tree| tree.preserve).unwrap_or_default(),
                    overrides: None,
                    rule: (Rule::Pull, key.pull.as_ref()),
                },
                FileRequest::Clean(clean) => Asked {
                    path: &clean.path,
                    preserve: Preserve::default(),
                    overrides: None,
                    rule: (Rule::Push, key.push.as_ref()),
                },
                // It joins a transfer of the same key, which has been permitted.
                FileRequest::Lane(_) => return Ok(granted),
            };
            within(&asked, facts, granted)
        }
        Request::Connect(request) => match request {
            ConnectRequest::Connect(connect) => reach(key, connect, facts, granted),
            ConnectRequest::ConnectUnix(connect) => socket(key, &connect.path, facts, granted),
            ConnectRequest::Park(park) => parking(key, park, facts, granted),
            ConnectRequest::Listen(listen) => self::listen(key, listen, facts, granted),
            // It has arrived at a listener of the same key, which has been permitted, and ends with it.
            ConnectRequest::Take(_) => Ok(granted),
        },
        Request::Audit(_)
        | Request::Key(_)
        | Request::Certificate(_)
        | Request::Agent(_)
        | Request::Sight(_)
        | Request::Rule(RuleRequest::Can(_)) => Ok(granted),
    }
    .map_err(denied)
}

/// Whether a key may make a request whatever its verbs: about itself it may ask, it may always be replaced by a newer one
/// of its own, and only the rule `park` lets it park.
fn is_free(key: &Entry, request: &Request) -> bool {
    match request {
        Request::Rule(RuleRequest::Can(can)) => {
            can.key.as_deref().is_none_or(|name| key.is_named(name))
        }
        Request::Key(KeyRequest::KeyRotate(_)) | Request::Connect(ConnectRequest::Park(_)) => true,
        Request::Job(_)
        | Request::File(_)
        | Request::Audit(_)
        | Request::Key(_)
        | Request::Certificate(_)
        | Request::Agent(_)
        | Request::Sight(_)
        | Request::Connect(_) => false,
    }
}

/// The verb that the key needs for a request.
fn verb(key: &Entry, request: &Request) -> Verb {
    match request {
        // A key that may open a shell needs no other verb to come back to it.
        Request::Job(JobRequest::Attach(_)) if key.verbs.contains(Verb::Shell) => Verb::Shell,
        other => other.verb(),
    }
}

/// Decides on a command. A key with `commands` runs these programs with these words, and can change nothing else
/// of how they run.
fn command(key: &Entry, run: &Run, facts: &Facts<'_>, granted: Grant) -> Result<Grant, Objection> {
    let Some(patterns) = &key.commands else { return Ok(granted) };
    let no = |what: &str| Err((Rule::Commands, format!("{} {what}", facts.at(patterns.line))));
    let Some(words) = run.command.words() else {
        return no(match run.command {
            Command::Argv(_) | Command::Shell(_) => {
                "has no shell: give the program and its arguments as words of their own"
            }
            Command::Script { .. } => "has no scripts",
            Command::Login => "has no shell",
        });
    };
    match run.streams {
        Streams::Terminal { .. } => return no("has no terminal"),
        Streams::Followed { stdin: true } if !key.stdin => {
            return Err((Rule::Stdin, format!("{} has no input", facts.at(patterns.line))));
        }
        Streams::Followed { .. } | Streams::Detached => {}
    }
    if run.cwd.is_some() {
        return no("has no working directory of the caller's choice (--cwd)");
    }
    if !run.env.is_empty() {
        return no("has no variables of the caller's choice (--env)");
    }
    let Some((name, arguments)) = words.split_first() else { return no("has no empty command") };
    let Some(program) = facts.program else {
        return if name.contains(&b'/') {
            let name = escape(name);
            no(&format!("has no relative paths, and none with '.', '..' or '//': {name}"))
        } else {
            no("has no program of this name that only root could have put there")
        };
    };
    let mut nearest = None;
    for pattern in patterns.iter() {
        match pattern.compare(program, arguments) {
            Ok(()) => {
                let program = Program { path: program.to_vec(), words: words.to_vec() };
                return Ok(Grant { line: pattern.line, program: Some(program), ..granted });
            }
            Err(mismatch) if nearest.is_none_or(|(_, far)| mismatch.word() > far) => {
                nearest = Some(((pattern.line, mismatch), mismatch.word()));
            }
            Err(_) => {}
        }
    }
    match nearest {
        Some(((line, mismatch), 2..)) => {
            Err((Rule::Commands, format!("nearest is {}, {mismatch}", facts.at(line))))
        }
        _ => no(&format!("has no {}", escape(program))),
    }
}

/// Decides on a connection through the host: to those of the addresses that an entry covers, or one that a host has
/// parked.
fn reach(
    key: &Entry,
    connect: &Connect,
    facts: &Facts<'_>,
    granted: Grant,
) -> Result<Grant, Objection> {
    let Connect { parked, host, port, bare: _ } = connect;
    let Some(places) = &key.connect else {
        let addresses = facts.reached.iter().flat_map(|all| all.iter()).map(|to| to.address);
        return Ok(Grant { addresses: addresses.collect(), parked: parked.is_some(), ..granted });
    };
    let reached = if host.is_empty() { Some(&[][..]) } else { facts.reached };
    let covering = |to: &Reached| places.iter().find(|place| place.covers(host, *to));
    let found = match reached {
        Some(reached) => {
            let line = reached.iter().find_map(covering).map(|place| place.line);
            let covered = reached.iter().filter(|to| covering(to).is_some());
            line.map(|line| (line, covered.map(|to| to.address).collect()))
        }
        // Why the name could not be looked up is the answer, but only for what might be permitted.
        None => places
            .iter()
            .find(|place| place.may_cover(host, *port))
            .map(|place| (place.line, Vec::new())),
    };
    let parked = parked.as_ref();
    let parking = parked.and_then(|name| places.iter().find(|place| place.is_parked(name)));
    if let Some(place) = parking {
        let addresses = found.map(|(_, addresses)| addresses).unwrap_or_default();
        return Ok(Grant { line: place.line, addresses, parked: true, ..granted });
    }
    let (line, addresses) = found.ok_or_else(|| {
        let (at, host) = (facts.at(places.line), escape(host.as_bytes()));
        let inner = reached.iter().any(|all| all.iter().any(|to| to.is_inner));
        let why =
            if inner { " (an address of this host's own must be named literally)" } else { "" };
        let what = match parked {
            Some(name) if host.is_empty() => format!("host:{name}"),
            Some(name) => format!("host:{name}, nor {host}:{port}"),
            None => format!("{host}:{port}"),
        };
        (Rule::Connect, format!("{at} has no {what}{why}"))
    })?;
    Ok(Grant { line, addresses, ..granted })
}

/// Decides on a connection that a host parks here: its key does nothing else.
fn parking(
    key: &Entry,
    park: &Park,
    facts: &Facts<'_>,
    granted: Grant,
) -> Result<Grant, Objection> {
    match &key.park {
        Some(host) if host.value == park.host => Ok(Grant { line: host.line, ..granted }),
        Some(host) => {
            let why = format!("{} is for {}, not for {}", facts.at(host.line), **host, park.host);
            Err((Rule::Park, why))
        }
        None => {
            let why = "no connections can be parked with this key".to_owned();
            Err((Rule::Park, why))
        }
    }
}

/// Decides on a connection to a unix socket, which an entry names exactly.
fn socket(key: &Entry, path: &[u8], facts: &Facts<'_>, granted: Grant) -> Result<Grant, Objection> {
    let Some(places) = &key.connect else { return Ok(granted) };
    let place = places.iter().find(|place| place.is_socket(path));
    let line = place.map(|place| place.line).ok_or_else(|| {
        (Rule::Connect, format!("{} has no {}", facts.at(places.line), escape(path)))
    })?;
    Ok(Grant { line, ..granted })
}

/// Decides on listening: on loopback, or where an entry says.
fn listen(
    key: &Entry,
    listen: &Listen,
    facts: &Facts<'_>,
    granted: Grant,
) -> Result<Grant, Objection> {
    /// Ports below this one are those of a system's own services.
    const UNPRIVILEGED: u16 = 1024;
    let no = |why: String| Err((Rule::Listen, why));
    let port = listen.port;
    let Some(ip) = listen.ip() else { return no(format!("{} is no address", listen.address)) };
    let at = SocketAddr::new(ip.to_canonical(), port);
    if port != 0 && port == facts.own_port {
        return no(format!("port {port} is the agent's own"));
    }
    if let Some(users) = key.users.as_ref().filter(|_| (1..UNPRIVILEGED).contains(&port)) {
        let line = facts.at(users.line);
        return no(format!("a key with users ({line}) has no port below {UNPRIVILEGED}"));
    }
    match &key.listen {
        Some(places) => match places.iter().find(|place| place.covers(at)) {
            Some(place) => Ok(Grant { line: place.line, ..granted }),
            None => no(format!("{} has no {at}", facts.at(places.line))),
        },
        None if at.ip().is_loopback() => Ok(granted),
        None => no(format!("{at} is not loopback, and no list `listen` has it")),
    }
}

/// What a request asks of the host's files.
struct Asked<'a> {
    path: &'a [u8],
    preserve: Preserve,
    overrides: Option<&'a Overrides>,
    /// The rule that it is subject to, and the roots of the rule.
    rule: (Rule, Option<&'a Lined<Vec<Lined<Root>>>>),
}

/// Decides on file work. A key with roots stays within one of them, and gives files no owners and no rights that
/// reach further.
fn within(asked: &Asked<'_>, facts: &Facts<'_>, granted: Grant) -> Result<Grant, Objection> {
    let (rule, Some(roots)) = asked.rule else { return Ok(granted) };
    let no = |what: String| Err((rule, format!("{} {what}", facts.at(roots.line))));
    let Some(path) = path::absolute(facts.home, asked.path) else {
        return no(format!("has no paths with '.', '..' or '//': {}", escape(asked.path)));
    };
    let holds = |root: &&Lined<Root>| root.relative(&path).is_some();
    let Some(root) = roots.iter().filter(holds).max_by_key(|root| root.as_bytes().len()) else {
        return no(format!("has no directory above {}", escape(&path)));
    };
    // Of extended attributes those of users are sent and set.
    let Preserve { xattrs: _, owner, special, acls } = asked.preserve;
    let chown = |overrides: &Overrides| overrides.user.is_some() || overrides.group.is_some();
    let chmod = |overrides: &Overrides| {
        let mut changes = overrides.mode.iter().chain(&overrides.directory_mode);
        changes.any(|change| change.may_set(SPECIAL))
    };
    let option = match asked.overrides {
        _ if special => "--special",
        _ if owner => "--owner",
        _ if acls => "-A",
        Some(overrides) if chown(overrides) => "--chown",
        Some(overrides) if chmod(overrides) => "--chmod and setuid, setgid or sticky bits",
        Some(_) | None => {
            let (line, at) = (root.line, facts.at(root.line));
            let root = Some(Confinement { root: root.value.clone(), at });
            return Ok(Grant { line, root, ..granted });
        }
    };
    no(format!("does not go with {option}"))
}

#[cfg(test)]
mod tests;
