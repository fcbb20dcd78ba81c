//! `lariat clean`: removes the partials that were given up.

mod many;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::BinaryBytes;
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
use crate::fanout::{End, Failed, FanoutOptions, within};
use crate::fleet;
use crate::output::json;
use crate::runtime::block_on;
use crate::target::{Chosen, RemotePath};
use crate::{output, status};

#[derive(clap::Args)]
#[command(after_help = "\
A push that was given up leaves what had arrived beside its destination, so that the same push goes on
with it. This removes what your key's pushes left below DIR, through no link. What a transfer works on
stays, and so does what is another key's or another user's.

Examples:
  lariat clean web1:/srv
  lariat clean @web:/srv --dry-run
  lariat clean www@web1:")]
pub(crate) struct Args {
    /// Below which directory; a relative or empty one begins at the user's home
    #[arg(value_name = "TARGET:DIR")]
    place: OsString,

    /// Only count them
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// The user whose they are, and with whose rights they are removed
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// One JSON object for each host: host, ok, kind, error, files, bytes
    #[arg(long)]
    json: bool,

    /// How long it may take for a host, connecting included
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let RemotePath { target, path } = RemotePath::parse(&args.place)?;
    let Some(chosen) = target.plain() else { return many::run(args, &path, &target, context) };
    let host = &chosen.host;
    let request = args.request(&chosen, path)?;
    let handle = args.fanout.one(&args.connect, [&target], &chosen, context);
    let done = match handle {
        Ok(None) => return Ok(ExitCode::SUCCESS),
        Ok(Some(handle)) => block_on(async { Ok(ask(&handle, &request, args.timeout).await) })?,
        Err(error) => Err(error.into()),
    };
    let told = HostReport::of(done);
    if args.json {
        output::bytes(&told.object(host)?)?;
    } else {
        for error in &told.errors {
            error.report(context.verbose);
        }
        if told.has_cleaned {
            output::note(&format!("{host}: {}", told.summary(args.dry_run)));
        }
    }
    Ok(told.status())
}

impl Args {
    fn request(&self, chosen: &Chosen, path: Vec<u8>) -> Result<Clean, CliError> {
        let user = chosen.user(self.user.as_deref())?;
        Ok(Clean { path, dry_run: self.dry_run, user })
    }
}

/// What a host says.
#[derive(Default)]
struct Done {
    cleaned: Cleaned,
    failures: Vec<Failure>,
}

/// What is told of a host.
struct HostReport {
    end: End,
    errors: Vec<CliError>,
    cleaned: Cleaned,
    /// The host has done it, as far as it could.
    has_cleaned: bool,
}

#[derive(Serialize)]
struct Object<'a> {
    host: &'a HostName,
    ok: bool,
    kind: &'static str,
    error: Option<String>,
    files: u64,
    bytes: u64,
}

impl HostReport {
    fn of(done: Result<Done, Failed>) -> Self {
        match done {
            Ok(Done { cleaned, failures }) => {
                let end = if failures.is_empty() { End::Ok } else { End::Errored };
                let error = |failure| CliError::from(failure).during("clean");
                let errors = failures.into_iter().map(error).collect();
                Self { end, errors, cleaned, has_cleaned: true }
            }
            Err(Failed { end, error }) => {
                let (errors, cleaned) = (vec![error.during("clean")], Cleaned::default());
                Self { end, errors, cleaned, has_cleaned: false }
            }
        }
    }

    fn object(&self, host: &HostName) -> Result<Vec<u8>, CliError> {
        let errors: Vec<String> = self.errors.iter().map(CliError::line).collect();
        let Cleaned { files, bytes } = self.cleaned;
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        json::line(&Object {
            host,
            ok: self.end == End::Ok,
            kind: self.end.kind(),
            error,
            files,
            bytes,
        })
    }

    fn summary(&self, dry_run: bool) -> String {
        summary(&self.cleaned, dry_run)
    }

    fn status(&self) -> ExitCode {
        ExitCode::from(status::of_one(self.end))
    }
}

fn summary(cleaned: &Cleaned, dry_run: bool) -> String {
    let Cleaned { files, bytes } = *cleaned;
    let plural = if files == 1 { "" } else { "s" };
    let what = if dry_run { "would remove" } else { "removed" };
    format!("{what} {files} abandoned partial{plural}, {}", BinaryBytes(bytes))
}

/// Asks one host.
async fn ask(
    handle: &HostHandle,
    request: &Clean,
    limit: Option<Duration>,
) -> Result<Done, Failed> {
    let work = async {
        let mut retry = Retry::new(handle);
        loop {
            // What is removed already is not there the second time.
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

async fn answer(Session { link, .. }: &mut Session) -> Result<Done, Broken> {
    let mut failures = Vec::new();
    loop {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Missed::KIND if failures.len() < MOST_FAILURES => {
                failures.push(link.reader.message::<Missed>()?.failure);
            }
            Cleaned::KIND => return Ok(Done { cleaned: link.reader.message()?, failures }),
            Failure::KIND => return Err(Broken::Failed(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

/// Failures that a host may tell.
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
