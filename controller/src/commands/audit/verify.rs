//! `lariat audit verify`: reads the whole record of a host, verifies its chain, and looks for every line in it that
//! this machine was shown.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::audit::{FileName, Head, Verifier, Whole, Wrong};
use lariat_base::name::HostName;
use lariat_client::{AskError, AuditPart};
use lariat_wire::protocol::audit::{AuditHead, AuditStart};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, FanoutOptions, HostContext, HostWork, Verb, within};
use crate::fleet;
use crate::host_keys;
use crate::output::json;
use crate::seen::{self, Contradiction, Seen, Witnesses};
use crate::shell_word::shell_word;
use crate::status::SOME_FAILED;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
Each line of a host's record has a hash that covers the line before it, and this machine remembers the last line \
of each contact (LARIAT_HOME/seen). verify proves that the lines up to the last one seen are those that the host \
had written then. The exit status is 0 if so, and 1 if the record is not whole or does not continue what was \
seen.

Examples:
  lariat audit verify web1
  lariat audit verify all --json | jq 'select(.whole | not)'
  lariat audit verify web1 --with bob/seen/web1-3f2a...
  lariat audit verify web1 --accept        (known to be restored from a snapshot)")]
pub(super) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Accept a record that does not continue
    ///
    /// The record notes it, and later contacts are compared with the record as it is now.
    #[arg(long)]
    accept: bool,

    /// Compare with another operator's file of seen/
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, whole, first, last, witnesses, error.
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

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { target, accept, with, json, timeout, connect, fanout } = args;
    let with = with.as_deref().map(seen::read).transpose()?.unwrap_or_default();
    let targets = vec![target];
    let verb = Verb { context, connect, fanout, targets, json: *json, recorded: None };
    verb.run(async |_| {
        let seen = context.seen.clone();
        Ok(Verifying { seen, with, accept: *accept, json: *json, limit: *timeout })
    })
}

struct Verifying {
    seen: Seen,
    with: Witnesses,
    accept: bool,
    json: bool,
    limit: Option<Duration>,
}

/// The verdict on a host's record.
#[derive(Debug)]
enum Verdict {
    /// It is whole, and has all these lines that were seen.
    Whole { whole: Whole, witnesses: usize },
    /// It is whole, and was accepted although it contradicts what was seen.
    Accepted { whole: Whole, contradiction: Contradiction },
    /// It is not whole.
    Wrong(Wrong),
    /// It ends with another line than the host says.
    Unfinished { last: u64, said: u64 },
    /// It contradicts what was seen.
    Contradicts(Contradiction),
}

/// The fields that the verb adds to a host's object.
#[derive(Default, serde::Serialize)]
struct Added {
    whole: Option<bool>,
    first: Option<u64>,
    last: Option<u64>,
    witnesses: Option<usize>,
}

impl HostWork for Verifying {
    type Outcome = Verdict;
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<Verdict, Failed> {
        let handle = &host.handle;
        within(self.limit, handle, async {
            let mut reading = Reading::default();
            let each =
                async |part: AuditPart<'_>| reading.take(part, || self.witnesses(handle.name()));
            let said = handle.read_audit(AuditStart::Oldest, each).await;
            let said = said.map_err(|error| self.not_read(handle.name(), error))?;
            let (verdict, newest) = reading.verdict(said);
            let Some(newest) = newest else { return Ok(verdict) };
            match verdict {
                Verdict::Whole { .. } => self.seen.replace(handle.name(), newest),
                Verdict::Contradicts(contradiction) if self.accept => {
                    let seen = self.witnesses(handle.name()).newest().unwrap_or_default();
                    let accepted = handle.accept_audit(seen).await;
                    accepted.map_err(|error| self.not_read(handle.name(), error))?;
                    self.seen.replace(handle.name(), newest);
                    let whole = Whole { last: newest.seq, ..Whole::default() };
                    return Ok(Verdict::Accepted { whole, contradiction });
                }
                _ => {}
            }
            Ok(verdict)
        })
        .await
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<Verdict, Failed>,
    ) -> (Vec<u8>, Ended) {
        let verdict = match outcome {
            Ok(verdict) => verdict,
            Err(failed) => return self.failed(self.json, host, failed.into()),
        };
        let why = verdict.why(host);
        let told = match (&why, self.json) {
            (None, true) => json::result(host, End::Ok, None, verdict.added(true)),
            (Some(why), true) => {
                json::result(host, End::Failed, Some(why.clone()), verdict.added(false))
            }
            (None, false) => Ok(format!("{host}: {}\n", verdict.good()).into_bytes()),
            (Some(_), false) => Ok(Vec::new()),
        };
        match (told, why) {
            (Ok(told), None) => (told, Ended::ok()),
            (Ok(told), Some(why)) => {
                let status = Some(SOME_FAILED);
                (told, Ended { status, ..Ended::failed(End::Failed, CliError::new(why)) })
            }
            (Err(error), _) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }
}

impl Verifying {
    fn witnesses(&self, host: &HostName) -> Witnesses {
        let mut witnesses = self.seen.witnesses(host);
        witnesses.merge(self.with.clone());
        witnesses
    }

    /// A host's record can't be read. Who may not read it can settle nothing, but may be told that others have.
    fn not_read(&self, host: &HostName, error: AskError) -> Failed {
        let is_refused = host_keys::is_refusal(&error);
        let mut failed = Failed::from(error).before("audit verify of");
        if let Some(file) = self.seen.unsettled(host).filter(|_| is_refused) {
            let file = shell_word(&file.to_string_lossy());
            failed.error = failed.error.next(format!(
                "a key with the verb audit can verify it; once somebody has, and is sure of {host}: rm {file}"
            ));
        }
        failed
    }
}

/// The record as far as it was read.
#[derive(Default)]
struct Reading {
    verifier: Verifier,
    /// What was seen of it, once the host is connected to.
    witnesses: Option<Witnesses>,
    /// Lines that were seen, and are in it.
    found: usize,
    contradiction: Option<Contradiction>,
    wrong: Option<Wrong>,
}

impl Reading {
    fn take(
        &mut self,
        part: AuditPart<'_>,
        witnesses: impl FnOnce() -> Witnesses,
    ) -> ControlFlow<()> {
        let witnesses = self.witnesses.get_or_insert_with(witnesses);
        let fed = match part {
            AuditPart::File { first, offset } => {
                if self.verifier.position() == Some((FileName(first), offset)) {
                    return ControlFlow::Continue(());
                }
                self.verifier.file(FileName(first))
            }
            AuditPart::Bytes(bytes) => {
                let (found, contradiction) = (&mut self.found, &mut self.contradiction);
                let mut compare = |head: &Head<'_>, _: &[u8]| {
                    let same = |seq, hash| seq == head.seq && hash == head.hash;
                    *found += witnesses.iter().filter(|w| same(w.line.seq, w.line.hash)).count();
                    if contradiction.is_none() {
                        let mut lines = witnesses.iter().map(|witness| witness.line);
                        let is_other =
                            |line: AuditHead| line.seq == head.seq && line.hash != head.hash;
                        let seq = lines.find(|line| is_other(*line)).map(|line| line.seq);
                        *contradiction = seq.map(|seq| Contradiction::Rewritten { seq });
                    }
                };
                self.verifier.bytes(bytes, &mut compare)
            }
        };
        match fed {
            Ok(()) => ControlFlow::Continue(()),
            Err(wrong) => {
                self.wrong = Some(wrong);
                ControlFlow::Break(())
            }
        }
    }

    /// The verdict, and the record's newest line if it is whole.
    fn verdict(self, said: Option<AuditHead>) -> (Verdict, Option<AuditHead>) {
        let Self { verifier, witnesses, found, contradiction, wrong } = self;
        let whole = match wrong.map_or_else(|| verifier.finish(), Err) {
            Ok(whole) => whole,
            Err(wrong) => return (Verdict::Wrong(wrong), None),
        };
        let mut newest = AuditHead { seq: whole.last, hash: whole.hash, ..AuditHead::default() };
        if hex::decode_to_slice(&whole.chain, &mut newest.chain).is_err() || said != Some(newest) {
            let (last, said) = (whole.last, said.unwrap_or_default().seq);
            return (Verdict::Unfinished { last, said }, None);
        }
        let witnesses = witnesses.unwrap_or_default();
        let contradiction = witnesses.contradiction(newest).or(contradiction);
        let verdict = match contradiction {
            Some(contradiction) => Verdict::Contradicts(contradiction),
            None => Verdict::Whole { whole, witnesses: found },
        };
        (verdict, Some(newest))
    }
}

impl Verdict {
    /// Why the verdict is "no".
    fn why(&self, host: &HostName) -> Option<String> {
        match self {
            Self::Whole { .. } | Self::Accepted { .. } => None,
            Self::Wrong(wrong) => Some(format!("{host}'s record is not whole: {wrong}")),
            Self::Unfinished { last, said } => Some(format!(
                "{host}'s record is not whole: it ends with line {last}, and the host says that line {said} is the newest"
            )),
            Self::Contradicts(contradiction) => Some(format!(
                "{host}'s record {contradiction}. Keys revoked since may be back (key list {host}); if the cause is known: \
                 lariat audit verify {host} --accept"
            )),
        }
    }

    fn good(&self) -> String {
        match self {
            Self::Whole { whole: Whole { first, last, .. }, witnesses } => {
                format!(
                    "whole: lines {first} to {last}, and {witnesses} that were seen are among them"
                )
            }
            Self::Accepted { whole, contradiction } => {
                format!("accepted with line {}, although it {contradiction}", whole.last)
            }
            Self::Wrong(_) | Self::Unfinished { .. } | Self::Contradicts(_) => String::new(),
        }
    }

    fn added(&self, is_whole: bool) -> Added {
        let (first, last, witnesses) = match self {
            Self::Whole { whole, witnesses } => {
                (Some(whole.first), Some(whole.last), Some(*witnesses))
            }
            Self::Accepted { whole, .. } => (None, Some(whole.last), None),
            Self::Wrong(_) | Self::Unfinished { .. } | Self::Contradicts(_) => (None, None, None),
        };
        Added { whole: Some(is_whole), first, last, witnesses }
    }
}
