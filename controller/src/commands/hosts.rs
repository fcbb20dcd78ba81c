//! `lariat hosts`: shows the inventory.

use std::fmt::Write;
use std::process::ExitCode;

use lariat_common::name::HostName;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::{Host, Inventory, Tag};
use crate::output;
use crate::target::Target;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lariat hosts
  lariat hosts web1
  lariat hosts --json | jq -r .address")]
pub(crate) struct Args {
    /// Which host [default: all of them]
    #[arg(value_name = "TARGET")]
    target: Option<Target>,

    /// One JSON object a line: host, address, tags
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    host: &'a str,
    address: String,
    tags: Vec<&'a str>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, json } = args;
    let inventory = Inventory::load(&context.home()?)?;
    let rows: Vec<_> = match &target {
        Some(target) => vec![row(&target.host, target.find(&inventory)?)],
        None => inventory.iter().map(|(name, host)| row(name, host)).collect(),
    };
    if json {
        output::bytes(objects(&rows)?.as_bytes())?;
    } else if rows.is_empty() {
        output::note("no hosts yet; try: lariat enroll HOST --address ADDR");
    } else {
        output::bytes(table(&rows).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(name: &'a HostName, host: &'a Host) -> Row<'a> {
    Row {
        host: name.as_str(),
        address: host.address.to_string(),
        tags: host.tags.iter().map(Tag::as_str).collect(),
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
    let width = |column: fn(&Row<'_>) -> usize, heading: &str| {
        rows.iter().map(column).max().unwrap_or_default().max(heading.len())
    };
    let (host, address) =
        (width(|row| row.host.len(), "HOST"), width(|row| row.address.len(), "ADDRESS"));
    let mut text = String::new();
    let mut line = |a: &str, b: &str, c: &str| {
        let line = format!("{a:host$}  {b:address$}  {c}");
        writeln!(text, "{}", line.trim_end()).expect("a String takes what is written to it");
    };
    line("HOST", "ADDRESS", "TAGS");
    for row in rows {
        line(row.host, &row.address, &row.tags.join(","));
    }
    text
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
        };
        let rows = [row("web1", "10.0.0.1:7433", &["web", "berlin"]), row("db", "[::1]:7433", &[])];
        insta::assert_snapshot!(table(&rows), @r#"
        HOST  ADDRESS        TAGS
        web1  10.0.0.1:7433  web,berlin
        db    [::1]:7433
        "#);
        insta::assert_snapshot!(objects(&rows).unwrap(), @r#"
        {"host":"web1","address":"10.0.0.1:7433","tags":["web","berlin"]}
        {"host":"db","address":"[::1]:7433","tags":[]}
        "#);
    }
}
