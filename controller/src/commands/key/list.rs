//! `lariat key list`: the keys here, or those of hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_wire::protocol::key::{ListedKey, Rules};
use lariat_wire::protocol::verb::Verb as KeyVerb;
use serde::Serialize;

use super::change::HostOptions;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, Screen, Verb, within};
use crate::host_keys;
use crate::inventory::{Host, Inventory};
use crate::key::{self, ControllerKey};
use crate::known_keys::KnownKeys;
use crate::output;
use crate::output::json;
use crate::output::table::table;
use crate::revocations::{PendingHost, Revocation, Revocations, SeenKeys, ids, remember};
use crate::rotation::{Rotation, left_behind};
use crate::rules::{as_options, describe, shown};
use crate::target::{Targets, fold, natural};

#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  lariat key list                              the keys here, with their ids
  lariat key list web1
  lariat key list all --json | jq -r 'select(.expires == null) | \"\\(.host) \\(.label)\"'")]
pub(super) struct Args {
    /// Which hosts [default: the keys here]
    ///
    /// Such as web1, web[01-20], 'web*', @tag or all; lariat hosts --help explains targets.
    #[arg(value_name = "TARGET", index = 1)]
    target: Option<Targets>,

    #[command(flatten)]
    on: HostOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    let Some(target) = &args.target else { return own(args, context) };
    let revocations = Revocations::load(&home)?;
    let enrolled = |(name, host): (&HostName, &Host)| {
        let enrolment = host.enrolled?.enrolment;
        Some((name.clone(), PendingHost { host: name.clone(), enrolment }))
    };
    let enrolled = Inventory::load(&home)?.iter().filter_map(enrolled).collect();
    let HostOptions { json, timeout, connect, fanout } = &args.on;
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    let seen = Arc::new(Mutex::new(Seen::default()));
    let also = Arc::clone(&seen);
    let status = verb.run(async |hosts| {
        let several = hosts.are_several;
        let (json, limit) = (*json, *timeout);
        Ok(Listing { revocations, hosts: enrolled, several, json, limit, seen: also })
    });
    let Seen { rules, keys } = std::mem::take(&mut *lock(&seen));
    if !rules.is_empty() {
        let held = home.lock()?;
        let mut known = KnownKeys::load(&home)?;
        rules.into_iter().for_each(|(host, keys)| known.list(host, keys));
        known.save(&home, &held)?;
    }
    remember(&home, &keys)?;
    status
}

/// What hosts have shown.
#[derive(Default)]
struct Seen {
    /// By host the labels of its keys, and what they may do.
    rules: Vec<(HostName, BTreeMap<String, String>)>,
    keys: SeenKeys,
}

/// The keys here.
fn own(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let inventory = Inventory::load(&home)?;
    let mut rows = Vec::new();
    for label in key::labels(&home)? {
        let key = ControllerKey::load_file(&key::file(&home, &label))?;
        let rotation = Rotation::load(&home, &label)?;
        let hosts = left_behind(&home, &label, &inventory)?;
        if !hosts.is_empty() {
            let hosts = fold(hosts.iter().map(HostName::as_str));
            output::note(&format!(
                "{hosts}: has the old key of {label}: lariat --key {label} key rotate all"
            ));
        }
        let next = rotation.map(|rotation| rotation.next.id.to_string());
        if args.on.json {
            output::bytes(&json::line(&OwnKey {
                label: label.as_str(),
                id: key.id.to_string(),
                next,
            })?)?;
        } else {
            let next = next.map(|next| format!("to be replaced by {next}")).unwrap_or_default();
            rows.push(vec![label.to_string(), key.id.to_string(), next]);
        }
    }
    if !args.on.json {
        output::bytes(table(&["LABEL", "ID", ""], rows).as_bytes())?;
    }
    for Revocation { name, pending, back, .. } in Revocations::load(&home)?.revoked {
        let folded = |hosts: &BTreeSet<PendingHost>| fold(hosts.iter().map(|at| at.host.as_str()));
        let name = escape(name.as_bytes());
        if !pending.is_empty() {
            let hosts = folded(&pending);
            output::note(&format!(
                "{hosts}: {name} was revoked and is still to be taken from there"
            ));
        }
        if !back.is_empty() {
            let hosts = folded(&back);
            output::note(&format!(
                "{hosts}: {name} was revoked and was seen there again: lariat key list {hosts}"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct OwnKey<'a> {
    label: &'a str,
    id: String,
    next: Option<String>,
}

/// Lists the keys of hosts.
struct Listing {
    revocations: Revocations,
    hosts: BTreeMap<HostName, PendingHost>,
    several: bool,
    json: bool,
    limit: Option<Duration>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Total {
    /// The table's rows, by host.
    rows: Vec<(HostName, Vec<String>)>,
    count: usize,
}

const HEADINGS: [&str; 4] = ["LABEL", "ID", "LAST USED", "MAY DO"];

impl HostWork for Listing {
    type Outcome = Vec<ListedKey>;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Vec<ListedKey>, Failed> {
        let listed = async { Ok(host_keys::list(&host.handle).await?) };
        let keys = within(self.limit, &host.handle, listed).await?;
        keys.session.leave().await;
        Ok(keys.keys)
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Vec<ListedKey>, Failed>,
    ) -> (Vec<u8>, Ended) {
        let keys = match outcome {
            Ok(keys) => keys,
            Err(failed) => {
                return self.failed(self.json, host, CliError::from(failed).during("key list"));
            }
        };
        // Those of hosts that park are no operator's.
        let people = keys.iter().filter(|key| key.rules.park.is_none());
        let rules = people.map(|key| (key.label.clone(), as_options(&key.rules)));
        let mut seen = lock(&self.seen);
        seen.rules.push((host.clone(), rules.collect()));
        let own = self.hosts.get(host).cloned();
        seen.keys.extend(own.map(|host| (host, keys.iter().flat_map(ids).collect())));
        drop(seen);
        total.count += keys.len();
        let mut ended = Ended::ok();
        for key in keys.iter().filter(|key| self.is_revoked(host, key)) {
            let label = escape(key.label.as_bytes());
            ended.notes.push(format!(
                "{host}: {label} was revoked and is still there: lariat key revoke {} {host}",
                key.id
            ));
        }
        if self.json {
            let line = |key| json::result(host, End::Ok, None, self.added(host, key));
            let lines = keys.iter().map(line);
            return match lines.collect::<Result<Vec<_>, _>>() {
                Ok(lines) => (lines.concat(), ended),
                Err(error) => (Vec::new(), Ended::failed(End::Errored, error)),
            };
        }
        let rows = keys.iter().map(cells);
        if self.several {
            total.rows.extend(rows.map(|cells| (host.clone(), cells)));
            return (Vec::new(), ended);
        }
        (table(&HEADINGS, rows).into_bytes(), ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, json::Nothing {})
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        let mut rows = std::mem::take(&mut total.rows);
        rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
        let rows = rows.into_iter().map(|(host, cells)| [vec![host.to_string()], cells].concat());
        if !self.json {
            screen.stdout.put(table(&[&["HOST"], &HEADINGS[..]].concat(), rows).as_bytes());
        }
        None
    }

    fn sum(&self, total: &Total, _: Duration) -> Option<String> {
        let plural = if total.count == 1 { "" } else { "s" };
        Some(format!("{} key{plural}", total.count))
    }
}

impl Listing {
    fn is_revoked(&self, host: &HostName, key: &ListedKey) -> bool {
        self.hosts.get(host).is_some_and(|host| self.revocations.name(host, key))
    }

    fn added<'a>(&self, host: &HostName, key: &'a ListedKey) -> Added<'a> {
        Added {
            label: &key.label,
            id: key.id.to_string(),
            owner: key.owner.to_string(),
            was: key.was.iter().map(ToString::to_string).collect(),
            pending: key.pending.map(|id| id.to_string()),
            rules: (&key.rules).into(),
            flat: (&key.rules).into(),
            expires: key.rules.not_after,
            last_used: key.last_used,
            revoked: self.is_revoked(host, key),
        }
    }
}

fn cells(key: &ListedKey) -> Vec<String> {
    let used = key.last_used.map_or_else(|| "never".to_owned(), shown);
    vec![escape(key.label.as_bytes()), key.id.to_string(), used, describe(&key.rules)]
}

/// The fields that the verb adds to a host's object, of which there is one for each key.
#[derive(Serialize)]
struct Added<'a> {
    label: &'a str,
    id: String,
    owner: String,
    was: Vec<String>,
    pending: Option<String>,
    rules: RulesObject<'a>,
    /// The rules once more, each by its name in the keyring.
    #[serde(flatten)]
    flat: RulesObject<'a>,
    /// In seconds since 1970, as all dates here.
    expires: Option<u64>,
    last_used: Option<u64>,
    revoked: bool,
}

/// Rules as the keyring's file names them; a list that is not there is no limit.
#[derive(Serialize)]
struct RulesObject<'a> {
    verbs: Vec<&'static str>,
    users: Option<&'a [String]>,
    networks: Option<&'a [String]>,
    not_before: Option<u64>,
    not_after: Option<u64>,
    push: Option<&'a [String]>,
    pull: Option<&'a [String]>,
    commands: Option<&'a [Vec<String>]>,
    stdin: bool,
    connect: Option<&'a [String]>,
    listen: Option<&'a [String]>,
    max_sessions: Option<u32>,
    max_jobs: Option<u32>,
    park: Option<&'a str>,
}

impl<'a> From<&'a Rules> for RulesObject<'a> {
    fn from(rules: &'a Rules) -> Self {
        Self {
            verbs: rules.verbs.iter().map(KeyVerb::as_str).collect(),
            users: rules.users.as_deref(),
            networks: rules.networks.as_deref(),
            not_before: rules.not_before,
            not_after: rules.not_after,
            push: rules.push.as_deref(),
            pull: rules.pull.as_deref(),
            commands: rules.commands.as_deref(),
            stdin: rules.stdin,
            connect: rules.connect.as_deref(),
            listen: rules.listen.as_deref(),
            max_sessions: rules.max_sessions,
            max_jobs: rules.max_jobs,
            park: rules.park.as_ref().map(HostName::as_str),
        }
    }
}
