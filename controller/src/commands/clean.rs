//! `lariat clean`: removes the partials of abandoned transfers.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::{Broken, HostHandle, Retry, Session, is_broken_connection};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::clean::{Clean, Cleaned};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::Missed;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, FanoutOptions, HostContext, HostWork, Recorded, Verb, within,
};
use crate::fleet;
use crate::output::json;
use crate::output::quantity::Bytes;
use crate::target::RemotePath;
use crate::template::Template;
use crate::transfer::shown;

#[derive(clap::Args)]
#[command(after_long_help = "\
A push that failed leaves its partial file beside the destination, so that the next one resumes. clean removes \
the partials that your key's pushes left beneath DIR, and follows no link. Partials in use, and those of other \
keys and users, stay.

Examples:
  lariat clean web1:/srv
  lariat clean @web:/srv --dry-run
  lariat clean www@web1:")]
pub(crate) struct Args {
    /// Where to search; relative to the user's home
    #[arg(value_name = "TARGET:DIR")]
    place: OsString,

    /// Count them; remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Act as this user of the host
    ///
    /// The user owns the partials, which are removed with its rights.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, files, bytes.
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
    let RemotePath { target, path } = RemotePath::parse(&args.place)?;
    let recorded = (!args.dry_run).then(|| Recorded::new("clean", shown(&args.place).to_string()));
    let verb = Verb {
        context,
        connect: &args.connect,
        fanout: &args.fanout,
        targets: vec![&target],
        json: args.json,
        recorded,
    };
    verb.run(async |hosts| {
        // For a single host, braces in the path have no meaning.
        let path = if hosts.are_several { Template::parse(&path)? } else { Template::plain(&path) };
        hosts.check_users(args.user.as_deref())?;
        let (user, dry_run) = (args.user.clone(), args.dry_run);
        Ok(Cleaning { path, user, dry_run, json: args.json, limit: args.timeout })
    })
}

/// The work for each host.
struct Cleaning {
    path: Template,
    user: Option<String>,
    dry_run: bool,
    json: bool,
    limit: Option<Duration>,
}

/// The sum of all hosts' results.
#[derive(Default)]
struct Total {
    cleaned: Cleaned,
    /// At least one host has answered.
    has_answer: bool,
}

/// A host's result.
#[derive(Default)]
struct Done {
    cleaned: Cleaned,
    /// What could not be read or removed, and where.
    failures: Vec<CliError>,
}

/// The fields that the verb adds to a host's object.
#[derive(Serialize)]
struct Added {
    files: u64,
    bytes: u64,
}

impl HostWork for Cleaning {
    type Outcome = Done;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Done, Failed> {
        let HostContext { chosen, handle, outlet, .. } = host;
        let user = chosen.user(self.user.as_deref())?;
        let path = self.path.for_host(&chosen.host);
        let there = match &user {
            Some(user) => format!("on {} as {user}", chosen.host),
            None => format!("on {}", chosen.host),
        };
        let request = Clean { path, dry_run: self.dry_run, user };
        let (cleaned, failures) = tokio::select! {
            done = ask(&handle, &request, self.limit) => done?,
            () = outlet.interrupted() => return Err(Failed::interrupted()),
        };
        let failures = failures.into_iter().map(|failure| CliError::from(failure).during(&there));
        Ok(Done { cleaned, failures: failures.collect() })
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Done, Failed>,
    ) -> (Vec<u8>, Ended) {
        let (end, cleaned, errors) = match outcome {
            Ok(Done { cleaned, failures }) => {
                total.has_answer = true;
                total.cleaned.files += cleaned.files;
                total.cleaned.bytes += cleaned.bytes;
                let end = if failures.is_empty() { End::Ok } else { End::Errored };
                (end, cleaned, failures)
            }
            Err(Failed { end, error }) => (end, Cleaned::default(), vec![error]),
        };
        let errors: Vec<_> = errors.into_iter().map(|error| error.during("clean")).collect();
        let mut ended = Ended { end, errors, ..Ended::ok() };
        if !self.json {
            return (Vec::new(), ended);
        }
        let line = object(host, end, cleaned, ended.why());
        let line = line.unwrap_or_else(|error| {
            ended.errors.push(error);
            Vec::new()
        });
        (line, ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        let error = CliError::new(error.line()).during("clean");
        object(host, End::NotStarted, Cleaned::default(), Some(error.line()))
    }

    fn note(&self, total: &Total, host: &HostName) -> Option<String> {
        let summary = || format!("{host}: {}", summary(&total.cleaned, self.dry_run));
        (total.has_answer && !self.json).then(summary)
    }

    fn sum(&self, total: &Total, _: Duration) -> Option<String> {
        Some(summary(&total.cleaned, self.dry_run))
    }
}

fn object(
    host: &HostName,
    end: End,
    Cleaned { files, bytes }: Cleaned,
    error: Option<String>,
) -> Result<Vec<u8>, CliError> {
    json::result(host, end, error, Added { files, bytes })
}

fn summary(cleaned: &Cleaned, dry_run: bool) -> String {
    let Cleaned { files, bytes } = *cleaned;
    let plural = if files == 1 { "" } else { "s" };
    let what = if dry_run { "would remove" } else { "removed" };
    format!("{what} {files} abandoned partial{plural}, {}", Bytes(bytes))
}

/// Sends the request to one host.
async fn ask(
    handle: &HostHandle,
    request: &Clean,
    limit: Option<Duration>,
) -> Result<(Cleaned, Vec<Failure>), Failed> {
    let work = async {
        let mut retry = Retry::new(handle);
        loop {
            // A repeated request does not count files that the first one removed.
            let mut session = retry.ask_again(request).await?;
            let broken = match answer(&mut session).await {
                Ok(done) => {
                    session.leave().await;
                    return Ok(done);
                }
                Err(broken) => broken,
            };
            let again = matches!(&broken, Broken::Link(error) if is_broken_connection(error));
            if !again || !retry.broke(false).await {
                return Err(Failed::broken(broken, handle));
            }
        }
    };
    within(limit, handle, work).await
}

async fn answer(Session { link, .. }: &mut Session) -> Result<(Cleaned, Vec<Failure>), Broken> {
    let mut failures = Vec::new();
    loop {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Missed::KIND if failures.len() < MOST_FAILURES => {
                failures.push(link.reader.message::<Missed>()?.failure);
            }
            Cleaned::KIND => return Ok((link.reader.message()?, failures)),
            Failure::KIND => return Err(Broken::Failed(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

/// Most failures that are accepted from a host.
const MOST_FAILURES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_how_many_and_how_much() {
        let of = |files, bytes| summary(&Cleaned { files, bytes }, files == 0);
        insta::assert_snapshot!(of(0, 0), @"would remove 0 abandoned partials, 0 B");
        insta::assert_snapshot!(of(1, 3 << 20), @"removed 1 abandoned partial, 3.00 MiB");
    }
}
