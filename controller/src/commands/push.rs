//! `lariat push`: sends files to a host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lariat_common::protocol::transfer::{Destination, Push, Time};
use lariat_common::transfer::{Cancel, Sent, Source, send};

use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::reach::{self, Reach};
use crate::runtime::block_on;
use crate::target::RemotePath;
use crate::transfer::{
    Bar, Patience, Tally, TransferOptions, base_name, is_broken_connection, may_come_back, shown,
};

/// The source that is stdin.
const STDIN: &str = "-";

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and so
does a folder that is there already. Missing parents are made. A relative or empty DEST begins at
the user's home. A connection that breaks is made again and the push goes on; one that was given up
is run again, and only what is missing is sent. Of a file that is there already only what differs is.

Examples:
  lariat push app.tar.gz web1:/srv/            makes /srv/app.tar.gz
  lariat push nginx.conf web1:/etc/nginx/nginx.conf --backup
  lariat push a.deb b.deb web1:/tmp/
  pg_dump app | lariat push - web1:/backup/app.sql --compress
  lariat push --json app.tar.gz web1: | jq .reused")]
pub(crate) struct Args {
    /// Files to send; - is stdin
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<OsString>,

    /// Where to
    #[arg(value_name = "TARGET:DEST")]
    dest: OsString,

    /// One JSON object: host, ok, files, bytes, sent, reused, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: TransferOptions,

    #[command(flatten)]
    connect: reach::ReachOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { sources, dest, json, options, connect } = args;
    let RemotePath { target, mut path } = RemotePath::parse(&dest)?;
    if sources.len() > 1 && !path.is_empty() {
        // Several sources need a folder.
        path.push(b'/');
    }
    let reach = Reach::new(context, &target, &connect)?;
    let host = target.host.as_str();
    block_on(async {
        let mut pushing = Pushing { reach: &reach, options: &options, dest: &path, session: None };
        let mut tally = Tally::new();
        for source in &sources {
            if let Err(error) = pushing.push(source, &mut tally).await {
                // What is under way on the connection is not known: the next file gets a new one.
                pushing.session = None;
                tally.failed(error.during(format!("push {} to {host}", shown(source))));
            }
        }
        if let Some(Session { mut link, .. }) = pushing.session {
            // Everything is done and acknowledged; the agent sees the end either way.
            let _ = link.writer.finish().await;
        }
        tally.report(host, json, context.verbose)
    })
}

struct Pushing<'a> {
    reach: &'a Reach,
    options: &'a TransferOptions,
    dest: &'a [u8],
    /// A connection that is ready for the next file.
    session: Option<Session>,
}

impl Pushing<'_> {
    /// Sends one source, over as many connections as it takes.
    async fn push(&mut self, source: &OsStr, tally: &mut Tally) -> Result<(), CliError> {
        let stdin = source == STDIN;
        let mut file = if stdin { open_stdin()? } else { Source::open(Path::new(source))? };
        let name = if stdin { self.name_for_stdin()? } else { base_name(source.as_bytes())? };
        let dest = Destination { path: self.dest.to_vec(), name: name.to_vec() };
        let offer = file.offer().clone();
        let request = Push { dest, offer, placement: self.options.placement() };
        let bar = Bar::new(&shown(OsStr::from_bytes(name)).to_string());
        let mut patience = Patience::new(self.options.reconnect);
        let (mut moved, mut sent) = (0, 0);
        let mut first = true;
        loop {
            let mut now = Sent::default();
            let broken = match self.attempt(&mut file, &request, &bar, &mut now).await {
                Ok(()) => {
                    tally.arrived(now.size, moved + now.moved, sent + now.sent);
                    return Ok(());
                }
                Err(Attempt::Connect(error)) if !first && may_come_back(&error) => error.into(),
                Err(Attempt::Transfer(error)) if !stdin && is_broken_connection(&error) => {
                    CliError::from(error)
                }
                Err(Attempt::Connect(error)) => return Err(error.into()),
                Err(Attempt::Transfer(error)) => return Err(error.into()),
            };
            first = false;
            moved += now.moved;
            sent += now.sent;
            self.session = None;
            let Some(wait) = patience.broke(now.moved > 0, Instant::now()) else {
                return Err(broken);
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &mut self,
        file: &mut Source,
        request: &Push,
        bar: &Bar,
        sent: &mut Sent,
    ) -> Result<(), Attempt> {
        let session = match &mut self.session {
            Some(session) => {
                session.link.outbox().post(request).map_err(|e| Attempt::Transfer(e.into()))?;
                session
            }
            none => none.insert(self.reach.connect(request).await.map_err(Attempt::Connect)?),
        };
        let never = Cancel::default();
        let how = self.options.sending();
        let done = send(&mut session.link, file, how, bar, &never, sent).await;
        done.map(drop).map_err(Attempt::Transfer)
    }

    /// Stdin has no name of its own, so the destination must be one.
    fn name_for_stdin(&self) -> Result<&[u8], CliError> {
        base_name(self.dest).map_err(|_| {
            CliError::new("stdin needs a name at its destination")
                .hint("lariat push - HOST:/FOLDER/NAME")
        })
    }
}

/// Why an attempt did not come to its end.
enum Attempt {
    Connect(crate::connect::ConnectError),
    Transfer(lariat_common::transfer::TransferError),
}

fn open_stdin() -> Result<Source, CliError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Time {
        secs: i64::try_from(since.as_secs()).unwrap_or_default(),
        nanos: since.subsec_nanos(),
    };
    Source::stream(std::io::stdin(), now).map_err(|e| CliError::from(e).during("read stdin"))
}
