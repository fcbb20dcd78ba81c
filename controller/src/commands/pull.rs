//! `lariat pull`: fetches files from hosts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use lariat_common::account;
use lariat_common::link::LinkError;
use lariat_common::name::KeyId;
use lariat_common::protocol::Message;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::transfer::{Destination, Offer, Pull, Sending};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::{
    Busy, Cancel, Finish, Owner, Partial, Received, Stream, Target, TransferError, receive,
};

use crate::connect::Session;
use crate::context::Context;
use crate::error::{CliError, EXIT_FAILURE};
use crate::reach::{self, Fleet, Reach};
use crate::runtime::block_on;
use crate::target::{Chosen, RemotePath};
use crate::transfer::{
    Bar, Broken, Files, Item, Moved, Tally, TransferOptions, base_name, for_host, one_host, shown,
};

/// The destination that is stdout.
const STDOUT: &[u8] = b"-";

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and so
does a folder that is there already. From several hosts, files go into DEST/HOST/; {host} in DEST
is the host's name. A connection that
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
    let several = sources.len() > 1;
    let sources = by_host(&sources)?;
    // A mistake in any of them is told before anything has moved.
    let reach = |chosen| Fleet::load(context, &connect).and_then(|fleet| fleet.reach(chosen));
    let reaches: Vec<_> = sources.iter().map(|(chosen, _)| reach(chosen)).collect();
    if reaches.iter().any(Result::is_err) {
        return none_of(&sources, reaches, json, context.verbose);
    }
    let mut code = ExitCode::SUCCESS;
    for ((_, of_host), reach) in sources.iter().zip(reaches.into_iter().flatten()) {
        let host = reach.peer.name.clone();
        let mut dest = for_host(dest.as_bytes(), &host);
        if sources.len() > 1 {
            dest.extend_from_slice(format!("/{host}").as_bytes());
        }
        if several && !dest.is_empty() {
            // Several sources need a folder.
            dest.push(b'/');
        }
        let dest = (!stdout).then_some(dest.as_slice());
        let tally = block_on(async {
            let mut files = Files::new(&reach, options.reconnect);
            for RemotePath { path, .. } in of_host {
                let item = Pulled::new(path, dest, reach.key, options.sending(), &finish);
                let source = match path.as_slice() {
                    b"" => "the home folder".to_owned(),
                    path => shown(OsStr::from_bytes(path)).to_string(),
                };
                files.one(item, format!("pull {source} from {host}")).await;
            }
            Ok(files.finish().await)
        })?;
        if tally.report(host.as_str(), json, context.verbose)? != ExitCode::SUCCESS {
            code = ExitCode::from(EXIT_FAILURE);
        }
    }
    Ok(code)
}

/// Tells which hosts can't be asked for anything, and that for them the others were not.
fn none_of(
    sources: &[(Chosen, Vec<&RemotePath>)],
    reaches: Vec<Result<Reach, CliError>>,
    json: bool,
    verbose: bool,
) -> Result<ExitCode, CliError> {
    for ((chosen, _), reach) in sources.iter().zip(reaches) {
        let host = chosen.host.as_str();
        match reach {
            Err(error) => Tally::only(error).report(host, json, verbose)?,
            // People see that nothing came; a program waits for an object of every host.
            Ok(_) if !json => continue,
            Ok(_) => Tally::only(CliError::new(format!(
                "pull from {host}: not started, as another host can't be asked"
            )))
            .report(host, json, verbose)?,
        };
    }
    Ok(ExitCode::from(EXIT_FAILURE))
}

/// The sources of each host, hosts in the order in which they were first named.
fn by_host(sources: &[RemotePath]) -> Result<Vec<(Chosen, Vec<&RemotePath>)>, CliError> {
    let mut hosts: Vec<(Chosen, Vec<&RemotePath>)> = Vec::new();
    for source in sources {
        let chosen = one_host(&source.target)?;
        match hosts.iter_mut().find(|(host, _)| *host == chosen) {
            Some((_, of_host)) => of_host.push(source),
            None => hosts.push((chosen, vec![source])),
        }
    }
    Ok(hosts)
}

/// A file that comes here.
struct Pulled<'a> {
    request: Pull,
    /// Where to, if not to stdout.
    dest: Option<Destination>,
    owner: Owner,
    finish: &'a Finish,
}

impl<'a> Pulled<'a> {
    fn new(
        source: &[u8],
        dest: Option<&[u8]>,
        key: KeyId,
        sending: Sending,
        finish: &'a Finish,
    ) -> Result<Self, CliError> {
        // The name comes from what was asked for, never from the host.
        let named = |path: &[u8]| -> Result<_, CliError> {
            Ok(Destination { path: path.to_vec(), name: base_name(source)?.to_vec() })
        };
        let user = rustix::process::geteuid().as_raw();
        Ok(Self {
            request: Pull { source: source.to_vec(), sending },
            dest: dest.map(named).transpose()?,
            owner: Owner { key, user },
            finish,
        })
    }

    /// What receives it.
    fn target(&self, offer: &Offer) -> Result<Target, Failure> {
        let Some(dest) = &self.dest else {
            return Ok(Target::Stream(
                Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?,
            ));
        };
        let place = Place::resolve(Path::new(""), dest)?;
        Ok(Target::File(Partial::open(place, self.owner, offer, Busy::Refuse)?))
    }
}

impl Item for Pulled<'_> {
    type Request = Pull;

    fn request(&self) -> &Pull {
        &self.request
    }

    fn name(&self) -> &[u8] {
        self.dest.as_ref().map_or(STDOUT, |dest| &dest.name)
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let offer = expect_offer(session).await?;
        let target = self.target(&offer).map_err(Broken::Here)?;
        let (never, mut received) = (Cancel::default(), Received::default());
        let link = &mut session.link;
        let done = receive(link, target, &offer, self.finish, bar, &never, &mut received).await;
        *moved = received.into();
        done.map(drop).map_err(|error| match error {
            TransferError::Local(failure) => Broken::Here(failure),
            error => Broken::Transfer(error),
        })
    }

    /// What went to stdout can't be taken back, nor begun again.
    fn can_go_on(&self, moved: &Moved) -> bool {
        self.dest.is_some() || moved.is_nothing()
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}

/// The agent's answer: the file as it is there, or why there is none.
async fn expect_offer(session: &mut Session) -> Result<Offer, Broken> {
    let link = &mut session.link;
    let answer = async {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Offer::KIND => {
                let offer: Offer = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a file that can't be");
                offer.check().map_err(bad)?;
                Ok(Ok(offer))
            }
            Failure::KIND => Ok(Err(link.reader.message()?)),
            other => Err(LinkError::Unexpected(other)),
        }
    };
    answer.await.map_err(|e| Broken::Transfer(e.into()))?.map_err(Broken::refused)
}
