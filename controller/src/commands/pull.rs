//! `lariat pull`: fetches files from hosts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use lariat_common::link::LinkError;
use lariat_common::protocol::Message;
use lariat_common::protocol::failure::Failure;
use lariat_common::protocol::transfer::{Destination, Offer, Pull};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::{Busy, Cancel, Owner, Partial, TransferError, receive};

use crate::connect::Session;
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::reach::{self, Reach};
use crate::runtime::block_on;
use crate::target::RemotePath;
use crate::transfer::{Bar, Tally, base_name, shown};

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and so
does a folder that is there already. From several hosts, files go into DEST/HOST/. A pull that broke
off is run again: only what is missing is sent.

Examples:
  lariat pull web1:/var/log/syslog .
  lariat pull web1:/etc/hosts web1-hosts
  lariat pull web1:/var/log/syslog web2:/var/log/syslog logs")]
pub(crate) struct Args {
    /// Files to fetch; a relative path begins at the user's home
    #[arg(value_name = "TARGET:SOURCE", required = true)]
    sources: Vec<OsString>,

    /// Where to
    #[arg(value_name = "DEST")]
    dest: OsString,

    /// One JSON object for each host: host, ok, files, bytes, sent, reused, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: reach::Options,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { sources, dest, json, connect } = args;
    let sources: Vec<RemotePath> =
        sources.iter().map(|source| RemotePath::parse(source)).collect::<Result<_, _>>()?;
    let hosts = by_host(&sources);
    let several = sources.len() > 1;
    let mut code = ExitCode::SUCCESS;
    for sources in &hosts {
        let target = &sources[0].target;
        let host = target.host.as_str();
        let mut dest = dest.as_bytes().to_vec();
        if hosts.len() > 1 {
            dest.extend_from_slice(format!("/{host}").as_bytes());
        }
        if several && !dest.is_empty() {
            // Several sources need a folder.
            dest.push(b'/');
        }
        let reach = Reach::new(context, target, &connect)?;
        let pulled = block_on(async {
            let tally = pull_all(&reach, sources, &dest).await;
            tally.report(host, json, context.verbose)
        })?;
        if pulled != ExitCode::SUCCESS {
            code = ExitCode::from(EXIT_FAILURE);
        }
    }
    Ok(code)
}

/// The sources of each host, hosts in the order in which they were first named.
fn by_host(sources: &[RemotePath]) -> Vec<Vec<&RemotePath>> {
    let mut hosts: Vec<Vec<&RemotePath>> = Vec::new();
    for source in sources {
        match hosts.iter_mut().find(|of_host| of_host[0].target == source.target) {
            Some(of_host) => of_host.push(source),
            None => hosts.push(vec![source]),
        }
    }
    hosts
}

async fn pull_all(reach: &Reach, sources: &[&RemotePath], dest: &[u8]) -> Tally {
    let mut tally = Tally::new();
    let mut session = None;
    for source in sources {
        let pulled = pull(reach, &mut session, &source.path, dest, &mut tally).await;
        if let Err(error) = pulled {
            // What is under way on the connection is not known: the next file gets a new one.
            session = None;
            let (path, host) =
                (shown(OsStr::from_bytes(&source.path)).to_string(), &source.target.host);
            tally.failed(error.during(format!("pull {path} from {host}")));
        }
    }
    if let Some(Session { mut link, .. }) = session {
        // Everything is done; the agent sees the end either way.
        let _ = link.writer.finish().await;
    }
    tally
}

async fn pull(
    reach: &Reach,
    session: &mut Option<Session>,
    source: &[u8],
    dest: &[u8],
    tally: &mut Tally,
) -> Result<(), CliError> {
    // The name comes from what was asked for, never from the host.
    let name = base_name(source)?.to_vec();
    let request = Pull { source: source.to_vec() };
    let session = match session {
        Some(session) => {
            session.link.outbox().post(&request)?;
            session
        }
        None => session.insert(reach.connect(&request).await?),
    };
    let offer = expect_offer(session).await?;
    let bar = Bar::new(&shown(OsStr::from_bytes(&name)).to_string());
    let place = Place::resolve(Path::new(""), &Destination { path: dest.to_vec(), name })?;
    let owner = Owner { key: reach.key, user: rustix::process::geteuid().as_raw() };
    let (partial, have) = Partial::open(place, owner, &offer, Busy::Refuse)?;
    let received =
        receive(&mut session.link, partial, have, &offer, &bar, &Cancel::default()).await?;
    tally.arrived(offer.size, received.received, received.reused);
    Ok(())
}

async fn expect_offer(session: &mut Session) -> Result<Offer, TransferError> {
    let frame = session.link.next().await?.ok_or(LinkError::Cut)?;
    match frame.kind {
        Offer::KIND => {
            let offer: Offer = session.link.reader.message()?;
            let bad = |_| LinkError::Misbehaved("it offers a file that can't be");
            offer.check().map_err(bad)?;
            Ok(offer)
        }
        Failure::KIND => Err(TransferError::Remote(session.link.reader.message()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}
