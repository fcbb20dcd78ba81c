//! `lariat pull`: fetches files from hosts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lariat_common::account;
use lariat_common::link::LinkError;
use lariat_common::protocol::Message;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::transfer::{Destination, Offer, Pull};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::{
    Busy, Cancel, Finish, Owner, Partial, Received, Stream, Target, TransferError, receive,
};

use crate::connect::{ConnectError, Session};
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::reach::{self, Reach};
use crate::runtime::block_on;
use crate::target::RemotePath;
use crate::transfer::{
    Bar, Patience, Tally, TransferOptions, base_name, is_broken_connection, may_come_back, shown,
};

/// The destination that is stdout.
const STDOUT: &[u8] = b"-";

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and so
does a folder that is there already. From several hosts, files go into DEST/HOST/. A connection that
breaks is made again and the pull goes on; one that was given up is run again, and only what is
missing is sent. Of a file that is there already only what differs is.

Examples:
  lariat pull web1:/var/log/syslog .
  lariat pull web1:/etc/hosts web1-hosts
  lariat pull web1:/backup/app.sql - --compress | less
  lariat pull web1:/var/log/syslog web2:/var/log/syslog logs")]
pub(crate) struct Args {
    /// Files to fetch; a relative path begins at the user's home
    #[arg(value_name = "TARGET:SOURCE", required = true)]
    sources: Vec<OsString>,

    /// Where to; - is stdout
    #[arg(value_name = "DEST")]
    dest: OsString,

    /// One JSON object for each host: host, ok, files, bytes, sent, reused, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: TransferOptions,

    #[command(flatten)]
    connect: reach::ReachOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { sources, dest, json, options, connect } = args;
    let sources: Vec<RemotePath> =
        sources.iter().map(|source| RemotePath::parse(source)).collect::<Result<_, _>>()?;
    let finish = account::finish(&options.placement())?;
    let stdout = dest.as_bytes() == STDOUT;
    if stdout && (sources.len() > 1 || json) {
        return Err(CliError::new("only one file can go to stdout, and nothing else with it"));
    }
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
            let dest = if stdout { None } else { Some(dest.as_slice()) };
            let mut pulling =
                Pulling { reach: &reach, options: &options, finish: &finish, dest, session: None };
            pulling.all(sources).await.report(host, json, context.verbose)
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

struct Pulling<'a> {
    reach: &'a Reach,
    options: &'a TransferOptions,
    finish: &'a Finish,
    /// Where to, if not to stdout.
    dest: Option<&'a [u8]>,
    /// A connection that is ready for the next file.
    session: Option<Session>,
}

/// Why an attempt did not come to its end.
enum Attempt {
    Connect(ConnectError),
    Transfer(TransferError),
}

impl Pulling<'_> {
    async fn all(&mut self, sources: &[&RemotePath]) -> Tally {
        let mut tally = Tally::new();
        for source in sources {
            if let Err(error) = self.pull(&source.path, &mut tally).await {
                // What is under way on the connection is not known: the next file gets a new one.
                self.session = None;
                let path = shown(OsStr::from_bytes(&source.path)).to_string();
                let host = &source.target.host;
                tally.failed(error.during(format!("pull {path} from {host}")));
            }
        }
        if let Some(Session { mut link, .. }) = self.session.take() {
            // Everything is done; the agent sees the end either way.
            let _ = link.writer.finish().await;
        }
        tally
    }

    /// Fetches one source, over as many connections as it takes.
    async fn pull(&mut self, source: &[u8], tally: &mut Tally) -> Result<(), CliError> {
        // The name comes from what was asked for, never from the host.
        let name = if self.dest.is_some() { base_name(source)? } else { STDOUT };
        let request = Pull { source: source.to_vec(), sending: self.options.sending() };
        let bar = Bar::new(&shown(OsStr::from_bytes(name)).to_string());
        let mut patience = Patience::new(self.options.reconnect);
        let (mut moved, mut sent) = (0, 0);
        let mut first = true;
        loop {
            let mut now = Received::default();
            let broken = match self.attempt(&request, name, &bar, &mut now).await {
                Ok(()) => {
                    tally.arrived(now.size, moved + now.moved, sent + now.sent);
                    return Ok(());
                }
                Err(Attempt::Connect(error)) if !first && may_come_back(&error) => error.into(),
                // What went to stdout can't be taken back, nor begun again.
                Err(Attempt::Transfer(error))
                    if is_broken_connection(&error) && (self.dest.is_some() || now.moved == 0) =>
                {
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
        request: &Pull,
        name: &[u8],
        bar: &Bar,
        received: &mut Received,
    ) -> Result<(), Attempt> {
        let session = match &mut self.session {
            Some(session) => {
                session.link.outbox().post(request).map_err(|e| Attempt::Transfer(e.into()))?;
                session
            }
            none => none.insert(self.reach.connect(request).await.map_err(Attempt::Connect)?),
        };
        let never = Cancel::default();
        let work = async {
            let offer = expect_offer(session).await?;
            let target = match self.dest {
                Some(dest) => {
                    let dest = Destination { path: dest.to_vec(), name: name.to_vec() };
                    let place = Place::resolve(Path::new(""), &dest)?;
                    let user = rustix::process::geteuid().as_raw();
                    let owner = Owner { key: self.reach.key, user };
                    Target::File(Partial::open(place, owner, &offer, Busy::Refuse)?)
                }
                None => {
                    Target::Stream(Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?)
                }
            };
            receive(&mut session.link, target, &offer, self.finish, bar, &never, received).await
        };
        work.await.map_err(Attempt::Transfer)
    }
}

fn stdout_failed(error: &std::io::Error) -> TransferError {
    let cause = error.raw_os_error().map_or(Cause::Internal, Cause::Os);
    Failure::request(cause).into()
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
