//! `lariat hosts`: shows the inventory.

mod import;
mod ssh_config;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

use lariat_base::certificate::ENDS_SOON;
use lariat_base::clock::signed_seconds;
use lariat_base::name::HostName;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Host, Inventory, Tag};
use crate::output;
use crate::output::json::{self, Nothing};
use crate::seen::CertificateEnds;
use crate::target::{self, Targets};

const DAY: i64 = 24 * 3600;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "\
A target is a host (web1), a range (web[01-20]), a pattern ('web*'), @TAG or all. ',' unites, '&' intersects and \
binds tighter, '!' excludes: 'all,!web[02-40]', '@web&@berlin'. Quote what the shell would replace.

Examples:
  lariat hosts
  lariat hosts '@web,!web03'
  lariat hosts all --fold                      web[01-40],db1
  for h in $(lariat hosts @web --expand); do echo $h; done
  lariat hosts --json | jq -r .address
  lariat hosts import ~/.ssh/config")]
pub(crate) struct Args {
    #[command(subcommand)]
    more: Option<More>,

    /// Which hosts [default: all of them]
    ///
    /// Such as web1, web[01-20], 'web*', @tag or all; lariat hosts --help explains targets.
    #[arg(value_name = "TARGET")]
    targets: Option<Targets>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, address, tags, enrolled, expires (the end of its certificate as last seen).
    #[arg(long)]
    json: bool,

    /// Print the names as one short target
    #[arg(long, conflicts_with = "json")]
    fold: bool,

    /// Print the names, one per line
    #[arg(long, conflicts_with_all = ["json", "fold"])]
    expand: bool,
}

// Verbs below `hosts`.
#[derive(clap::Subcommand)]
enum More {
    /// Add the hosts of an ssh configuration, to be enrolled later
    Import(import::Args),
}

#[derive(Serialize)]
struct Row<'a> {
    host: &'a str,
    /// Absent for a host that only dials out.
    address: Option<String>,
    /// The gateways on the way, if the host's own entry says so.
    via: Option<String>,
    tags: Vec<&'a str>,
    enrolled: bool,
    /// The end of its certificate as it was last seen, in seconds since 1970.
    expires: Option<i64>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { more, targets, json, fold, expand } = args;
    if let Some(More::Import(args)) = more {
        return import::run(&args, context);
    }
    let home = context.home()?;
    let (inventory, ends) = (Inventory::load(&home)?, CertificateEnds::load(&home));
    let chosen = match &targets {
        Some(targets) => {
            let not_begun = |error| json::not_begun(json, targets, error, Nothing {});
            let hosts = targets.select(&inventory).map_err(not_begun)?;
            Some(hosts.into_iter().map(|chosen| chosen.host).collect::<BTreeSet<_>>())
        }
        None => None,
    };
    let hosts = inventory.iter();
    let hosts = hosts.filter(|(name, _)| chosen.as_ref().is_none_or(|all| all.contains(name)));
    let mut rows: Vec<_> = hosts.map(|(name, host)| row(name, host, ends.of(name, host))).collect();
    rows.sort_by(|a, b| target::natural(a.host, b.host));
    let names = || rows.iter().map(|row| row.host);
    if json {
        output::bytes(objects(&rows)?.as_bytes())?;
        warn(&rows);
    } else if rows.is_empty() {
        output::note("no hosts yet; try: lariat enroll HOST --address ADDR");
    } else if fold {
        output::line(&target::fold(names()))?;
    } else if expand {
        let lines: String = names().flat_map(|name| [name, "\n"]).collect();
        output::bytes(lines.as_bytes())?;
    } else {
        output::bytes(table(&rows).as_bytes())?;
        warn(&rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// Warns of certificates that end soon, or have ended.
fn warn(rows: &[Row<'_>]) {
    warnings(rows, signed_seconds(SystemTime::now())).iter().for_each(|line| output::note(line));
}

/// The warnings at `now`, in seconds since 1970, each for all the hosts that it is true of.
fn warnings(rows: &[Row<'_>], now: i64) -> Vec<String> {
    let soon = now.saturating_add(ENDS_SOON * DAY);
    let ending = rows.iter().filter_map(|row| Some((row.host, row.expires?)));
    let ending: Vec<_> = ending.filter(|(_, end)| *end < soon).collect();
    let (ended, soon): (Vec<_>, Vec<_>) = ending.into_iter().partition(|(_, end)| *end <= now);
    let names = |hosts: &[(&str, i64)]| target::fold(hosts.iter().map(|(host, _)| *host));
    let mut lines = Vec::new();
    if !ended.is_empty() {
        let hosts = names(&ended);
        lines.push(format!("{hosts}: the certificate has ended; enroll anew"));
    }
    if let Some(first) = soon.iter().map(|(_, end)| *end).min() {
        let (hosts, days) = (names(&soon), (first - now) / DAY);
        lines.push(format!(
            "{hosts}: the certificate ends within {ENDS_SOON} days, the first in {days} day(s); try: lariat renew {hosts}"
        ));
    }
    lines
}

fn row<'a>(name: &'a HostName, host: &'a Host, expires: Option<i64>) -> Row<'a> {
    Row {
        host: name.as_str(),
        address: host.address.as_ref().map(ToString::to_string),
        via: host.via.as_ref().map(ToString::to_string),
        tags: host.tags.iter().map(Tag::as_str).collect(),
        enrolled: host.enrolled.is_some(),
        expires,
    }
}

fn objects(rows: &[Row<'_>]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

fn table(rows: &[Row<'_>]) -> String {
    let cells = |row: &Row<'_>| {
        let tags = row.tags.join(",");
        let gap = if tags.is_empty() { "" } else { "  " };
        let rest = if row.enrolled { tags } else { format!("{tags}{gap}(not enrolled)") };
        let place = match (&row.address, &row.via) {
            (Some(address), _) => address.clone(),
            (None, via) => format!("via {}", via.as_deref().unwrap_or_default()),
        };
        vec![row.host.to_owned(), place, rest]
    };
    output::table::table(&["HOST", "ADDRESS", "TAGS"], rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_people_and_objects_for_programs() {
        let row = |host, address: &str, tags: &[&'static str]| Row {
            host,
            address: (host != "nat").then(|| address.to_owned()),
            via: (host == "nat").then(|| "gw1".to_owned()),
            tags: tags.to_vec(),
            enrolled: host != "db",
            expires: (host != "db").then_some(1_900_000_000),
        };
        let rows = [
            row("web1", "10.0.0.1:7433", &["web", "berlin"]),
            row("db", "[::1]:7433", &[]),
            row("nat", "", &[]),
        ];
        insta::assert_snapshot!(table(&rows), @r#"
        HOST  ADDRESS        TAGS
        web1  10.0.0.1:7433  web,berlin
        db    [::1]:7433     (not enrolled)
        nat   via gw1
        "#);
        insta::assert_snapshot!(objects(&rows).unwrap(), @r#"
        {"host":"web1","address":"10.0.0.1:7433","via":null,"tags":["web","berlin"],"enrolled":true,"expires":1900000000}
        {"host":"db","address":"[::1]:7433","via":null,"tags":[],"enrolled":false,"expires":null}
        {"host":"nat","address":null,"via":"gw1","tags":[],"enrolled":true,"expires":1900000000}
        "#);
    }

    #[test]
    fn certificates_that_end_soon_or_have_ended_are_told_of_all_hosts_together() {
        let row = |(host, days): (&'static str, i64)| Row {
            host,
            address: None,
            via: None,
            tags: Vec::new(),
            enrolled: true,
            expires: Some(days * DAY),
        };
        let rows = [("web1", 40), ("web2", 12), ("web3", 29), ("db", 0), ("web4", 30), ("lb", -9)];
        let lines = warnings(&rows.map(row), 0);
        insta::assert_snapshot!(lines.join("\n"), @r"
        db,lb: the certificate has ended; enroll anew
        web[2-3]: the certificate ends within 30 days, the first in 12 day(s); try: lariat renew web[2-3]
        ");
    }
}
