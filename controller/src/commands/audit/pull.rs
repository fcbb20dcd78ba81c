//! `lariat audit pull`: a verified copy of hosts' records, continued each time.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use lariat_base::audit::Whole;
use lariat_base::name::HostName;
use lariat_client::AuditPart;
use lariat_wire::protocol::audit::AuditHead;

use super::copy::Copy;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, FanoutOptions, HostContext, HostWork, Verb};
use crate::fleet;
use crate::output::json;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
The files of each host go into DIR/HOST unchanged. Every line is verified before it is written, and only new \
lines are fetched; after an interruption the same command continues. A record that does not continue the copy is \
refused, and the copy stays as it is.

Examples:
  lariat audit pull all /backup/audit
  lariat audit pull web1 . && jq -r 'select(.event == \"denied\")' web1/*.jsonl")]
pub(super) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Where to; each host has a directory in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, first, last, bytes, error.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, directory, json, connect, fanout } = args;
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    verb.run(async |_| Ok(Pulling { directory: directory.clone(), json: *json }))
}

struct Pulling {
    directory: PathBuf,
    json: bool,
}

/// What a copy has now.
struct Copied {
    whole: Whole,
    added: u64,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, serde::Serialize)]
struct Added {
    first: Option<u64>,
    last: Option<u64>,
    bytes: Option<u64>,
}

impl HostWork for Pulling {
    type Outcome = Copied;
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<Copied, Failed> {
        let (handle, name) = (&host.handle, host.handle.name());
        let failed =
            |error: CliError| Failed::from(error.during(format!("audit pull from {name}")));
        let directory = self.directory.join(name.as_str());
        let mut copy = Copy::open(&directory).map_err(|error| failed(error.into()))?;
        let (start, mut broken) = (copy.start(), None);
        let each = async |part: AuditPart<'_>| match copy.take(part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        };
        let said = handle.read_audit(start, each).await;
        let said = said.map_err(|error| Failed::from(error).before("audit pull from"))?;
        if let Some(error) = broken {
            return Err(failed(error.into()));
        }
        let added = copy.added;
        let whole = copy.finish().map_err(|error| failed(error.into()))?;
        let AuditHead { seq, hash, .. } = said.unwrap_or_default();
        if (seq, hash) != (whole.last, whole.hash) {
            let (last, directory) = (whole.last, directory.display());
            let why = format!(
                "its record ends with line {seq}, and the copy in {directory} with line {last}"
            );
            let error = CliError::new(why).hint(format!("lariat audit verify {name}"));
            return Err(failed(error));
        }
        Ok(Copied { whole, added })
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<Copied, Failed>,
    ) -> (Vec<u8>, Ended) {
        let Copied { whole: Whole { first, last, .. }, added } = match outcome {
            Ok(copied) => copied,
            Err(failed) => return self.failed(self.json, host, failed.into()),
        };
        let told = if self.json {
            let (first, last, bytes) = (Some(first), Some(last), Some(added));
            json::result(host, End::Ok, None, Added { first, last, bytes })
        } else {
            Ok(format!("{host}: lines {first} to {last}, {added} bytes new\n").into_bytes())
        };
        match told {
            Ok(told) => (told, Ended::ok()),
            Err(error) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }
}
