//! `lariat hosts`: shows the inventory.

mod import;
mod ssh_config;

use std::collections::BTreeSet;
use std::process::ExitCode;

use lariat_base::name::HostName;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Host, Inventory, Tag};
use crate::output;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A target is a host (web1), a range (web[01-20]), a pattern ('web*'), @TAG or all; ',' unites them, '&'
cuts down, and '!' takes away: 'all,!web[02-40]', '@web&@berlin'.

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
    #[arg(value_name = "TARGET")]
    targets: Option<Targets>,

    /// One JSON object a line: host, address, tags, enrolled
    #[arg(long)]
    json: bool,

    /// The names alone, as one short target
    #[arg(long, conflicts_with = "json")]
    fold: bool,

    /// The names alone, one a line
    #[arg(long, conflicts_with_all = ["json", "fold"])]
    expand: bool,
}

// Verbs below `hosts`.
#[derive(clap::Subcommand)]
enum More {
    /// Take the hosts of an ssh client's configuration into the inventory, to be enrolled
    Import(import::Args),
}

#[derive(Serialize)]
struct Row<'a> {
    host: &'a str,
    address: String,
    tags: Vec<&'a str>,
    enrolled: bool,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { more, targets, json, fold, expand } = args;
    if let Some(More::Import(args)) = more {
        return import::run(&args, context);
    }
    let inventory = Inventory::load(&context.home()?)?;
    let mut rows = match &targets {
        Some(targets) => chosen(targets, &inventory)?,
        None => inventory.iter().map(|(name, host)| row(name, host)).collect(),
    };
    rows.sort_by(|a, b| target::natural(a.host, b.host));
    let names = || rows.iter().map(|row| row.host);
    if json {
        output::bytes(objects(&rows)?.as_bytes())?;
    } else if rows.is_empty() {
        output::note("no hosts yet; try: lariat enroll HOST --address ADDR");
    } else if fold {
        output::line(&target::fold(names()))?;
    } else if expand {
        let lines: String = names().flat_map(|name| [name, "\n"]).collect();
        output::bytes(lines.as_bytes())?;
    } else {
        output::bytes(table(&rows).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(targets: &Targets, inventory: &'a Inventory) -> Result<Vec<Row<'a>>, CliError> {
    let hosts = targets.select(inventory)?;
    let chosen: BTreeSet<_> = hosts.into_iter().map(|chosen| chosen.host).collect();
    let rows = inventory.iter().filter(|(name, _)| chosen.contains(name));
    Ok(rows.map(|(name, host)| row(name, host)).collect())
}

fn row<'a>(name: &'a HostName, host: &'a Host) -> Row<'a> {
    Row {
        host: name.as_str(),
        address: host.address.to_string(),
        tags: host.tags.iter().map(Tag::as_str).collect(),
        enrolled: host.enrolled.is_some(),
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
        vec![row.host.to_owned(), row.address.clone(), rest]
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
            address: address.to_owned(),
            tags: tags.to_vec(),
            enrolled: host != "db",
        };
        let rows = [row("web1", "10.0.0.1:7433", &["web", "berlin"]), row("db", "[::1]:7433", &[])];
        insta::assert_snapshot!(table(&rows), @r#"
        HOST  ADDRESS        TAGS
        web1  10.0.0.1:7433  web,berlin
        db    [::1]:7433     (not enrolled)
        "#);
        insta::assert_snapshot!(objects(&rows).unwrap(), @r#"
        {"host":"web1","address":"10.0.0.1:7433","tags":["web","berlin"],"enrolled":true}
        {"host":"db","address":"[::1]:7433","tags":[],"enrolled":false}
        "#);
    }
}
