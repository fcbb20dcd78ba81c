//! `lariat push`: sends files to a host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use lariat_common::protocol::transfer::{Destination, Push};
use lariat_common::transfer::{Cancel, Source, send};

use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::reach::{self, Reach};
use crate::runtime::block_on;
use crate::target::RemotePath;
use crate::transfer::{Bar, Tally, base_name, shown};

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and so
does a folder that is there already. Missing parents are made. A relative or empty DEST begins at
the user's home. A push that broke off is run again: only what is missing is sent.

Examples:
  lariat push app.tar.gz web1:/srv/            makes /srv/app.tar.gz
  lariat push nginx.conf web1:/etc/nginx/nginx.conf
  lariat push a.deb b.deb web1:/tmp/
  lariat push --json app.tar.gz web1: | jq .reused")]
pub(crate) struct Args {
    /// Files to send
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<OsString>,

    /// Where to
    #[arg(value_name = "TARGET:DEST")]
    dest: OsString,

    /// One JSON object: host, ok, files, bytes, sent, reused, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: reach::Options,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { sources, dest, json, connect } = args;
    let RemotePath { target, mut path } = RemotePath::parse(&dest)?;
    if sources.len() > 1 && !path.is_empty() {
        // Several sources need a folder.
        path.push(b'/');
    }
    let reach = Reach::new(context, &target, &connect)?;
    let host = target.host.as_str();
    block_on(async {
        let mut tally = Tally::new();
        let mut session = None;
        for source in &sources {
            let pushed = push(&reach, &mut session, source, &path, &mut tally).await;
            if let Err(error) = pushed {
                // What is under way on the connection is not known: the next file gets a new one.
                session = None;
                tally.failed(error.during(format!("push {} to {host}", shown(source))));
            }
        }
        if let Some(Session { mut link, .. }) = session {
            // Everything is done and acknowledged; the agent sees the end either way.
            let _ = link.writer.finish().await;
        }
        tally.report(host, json, context.verbose)
    })
}

async fn push(
    reach: &Reach,
    session: &mut Option<Session>,
    source: &OsStr,
    dest: &[u8],
    tally: &mut Tally,
) -> Result<(), CliError> {
    let file = Source::open(Path::new(source))?;
    let name = base_name(source.as_bytes())?;
    let offer = file.offer().clone();
    let size = offer.size;
    let dest = Destination { path: dest.to_vec(), name: name.to_vec() };
    let request = Push { dest, offer };
    let session = match session {
        Some(session) => {
            session.link.outbox().post(&request)?;
            session
        }
        None => session.insert(reach.connect(&request).await?),
    };
    let bar = Bar::new(&shown(OsStr::from_bytes(name)).to_string());
    let sent = send(&mut session.link, &file, &bar, &Cancel::default()).await?;
    tally.arrived(size, sent.sent, sent.reused);
    Ok(())
}
