//! `lariat note`: notes on hosts for the next operator.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::seconds;
use lariat_base::date::clock;
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_client::status::NoteObject;
use lariat_wire::protocol::note::{Note, WriteNote};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, FanoutOptions, HostContext, HostWork, Recorded, Screen, Verb, within,
};
use crate::fleet;
use crate::output::json;
use crate::output::table::table;
use crate::target::{self, Targets, natural};

/// The table's columns but for the host.
const HEADINGS: [&str; 4] = ["NOTE", "LEFT", "BY", "TEXT"];

#[derive(clap::Args)]
#[command(after_long_help = "\
A note is one line of at most 500 bytes. It is shown once to each other operator who opens a shell on the host, or \
runs a command there from a terminal, and at once to those who are in a shell. Without TEXT, the notes are listed. \
Leaving and clearing needs the verb note, listing the verb status. A key clears its own notes; with the verb keys, \
any by its number.

Examples:
  lariat note web1 disk 3 is new, do not restart before Friday
  lariat note @web
  lariat note web1 --clear=2
  lariat note web1 --clear")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// What to say
    #[arg(value_name = "TEXT")]
    text: Vec<String>,

    /// Clear your own notes, or that of number N
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, conflicts_with = "text")]
    #[expect(clippy::option_option, reason = "the option may stand without its value")]
    clear: Option<Option<u32>>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, changed, notes.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, text, clear, json, timeout, connect, fanout } = args;
    let task = match clear {
        Some(number) => Task::Clear(*number),
        None if text.is_empty() => Task::List,
        None => Task::Leave(text.join(" ")),
    };
    if let Task::Leave(text) = &task {
        let checked = WriteNote { text: text.clone() }.check();
        checked.map_err(|why| CliError::new(format!("note: {why}")))?;
    }
    let what = match &task {
        Task::List => None,
        Task::Leave(text) => Some(text.clone()),
        Task::Clear(_) => Some("--clear".to_owned()),
    };
    let recorded = what.map(|what| Recorded::new("note", what));
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded };
    verb.run(async |hosts| {
        hosts.refuse_users("note", "a note")?;
        let are_several = hosts.are_several;
        Ok(Noting { task, are_several, json: *json, limit: *timeout })
    })
}

enum Task {
    List,
    Leave(String),
    Clear(Option<u32>),
}

/// What came of it.
enum Noted {
    Listed(Vec<Note>),
    Changed(bool),
}

/// The answers of all hosts.
#[derive(Default)]
struct Total {
    /// The table's rows, by host, of several hosts.
    rows: Vec<(HostName, Vec<String>)>,
    count: usize,
    /// At least one host has answered.
    has_answer: bool,
}

struct Noting {
    task: Task,
    are_several: bool,
    json: bool,
    limit: Option<Duration>,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added<'a> {
    changed: bool,
    notes: Vec<NoteObject<'a>>,
}

impl HostWork for Noting {
    type Outcome = Noted;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Noted, Failed> {
        let handle = &host.handle;
        let work = async {
            Ok(match &self.task {
                Task::List => Noted::Listed(handle.read_notes(false).await?),
                Task::Leave(text) => {
                    handle.write_note(text.clone()).await?;
                    Noted::Changed(true)
                }
                Task::Clear(number) => Noted::Changed(handle.clear_notes(*number).await? > 0),
            })
        };
        within(self.limit, handle, Box::pin(work)).await
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Noted, Failed>,
    ) -> (Vec<u8>, Ended) {
        let told = outcome.map_err(CliError::from).and_then(|noted| {
            total.has_answer = true;
            let (notes, changed) = match noted {
                Noted::Listed(notes) => (notes, false),
                Noted::Changed(changed) => (Vec::new(), changed),
            };
            if self.json {
                let notes = notes.iter().map(NoteObject::of).collect();
                return json::result(host, End::Ok, None, Added { changed, notes });
            }
            total.count += notes.len();
            let rows = notes.iter().map(cells);
            if self.are_several {
                total.rows.extend(rows.map(|cells| (host.clone(), cells)));
                return Ok(Vec::new());
            }
            Ok(if notes.is_empty() { Vec::new() } else { table(&HEADINGS, rows).into_bytes() })
        });
        match told {
            Ok(bytes) => (bytes, Ended::ok()),
            Err(error) => self.failed(self.json, host, error.during("note")),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }

    fn note(&self, total: &Self::Total, host: &HostName) -> Option<String> {
        let is_empty = total.has_answer && total.count == 0 && !self.json;
        (is_empty && matches!(self.task, Task::List)).then(|| format!("no notes on {host}"))
    }

    fn over(&self, total: &mut Self::Total, screen: &Screen) -> Option<CliError> {
        let mut rows = std::mem::take(&mut total.rows);
        rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
        if !rows.is_empty() {
            let rows =
                rows.into_iter().map(|(host, cells)| [vec![host.to_string()], cells].concat());
            screen.stdout.put(table(&[&["HOST"], &HEADINGS[..]].concat(), rows).as_bytes());
        }
        None
    }
}

/// A note's cells.
fn cells(note: &Note) -> Vec<String> {
    let now = seconds(SystemTime::now());
    let [label, text] = [&note.label, &note.text].map(|part| escape(part.as_bytes()));
    vec![note.number.to_string(), clock(note.time_ms / 1000, now), label, text]
}
