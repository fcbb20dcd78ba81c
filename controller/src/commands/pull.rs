//! `lariat pull`: fetches files and folders from hosts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use lariat_common::account;
use lariat_common::link::LinkError;
use lariat_common::name::KeyId;
use lariat_common::protocol::Message;
use lariat_common::protocol::failure::{Cause, Failure, FileKind};
use lariat_common::protocol::transfer::{Destination, Offer, Pull};
use lariat_common::protocol::tree::{Entry, Root, TreeOptions};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::tree::{Avoid, Counts, Filter, TreeArrival, TreeTarget, receive_tree};
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
    Bar, Broken, Files, Item, Moved, Remarks, Tally, TransferOptions, TreeBar, base_name, broken,
    for_host, one_host, shown,
};

/// Bytes of paths that one request has room for.
const MOST_LISTED: usize = 512 * 1024;

/// The destination that is stdout.
const STDOUT: &[u8] = b"-";

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and
for a file so does a folder that is there already. From several hosts, files go into DEST/HOST/;
{host} in DEST is the host's name. A connection that breaks is made again and the pull goes on; one
that was given up is run again, and only what is missing is sent. Of a file that is there already
only what differs is.

Examples:
  lariat pull web1:/var/log/syslog .
  lariat pull web1:/etc/hosts web1-hosts
  lariat pull web1:/backup/app.sql - --compress | less
  lariat pull web1:/var/log/syslog web2:/var/log/syslog logs
  lariat pull web1:/etc/nginx nginx --delete")]
pub(crate) struct Args {
    /// Files and folders to fetch; a relative path begins at the user's home
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
    let users: Vec<_> = sources
        .iter()
        .map(|(chosen, _)| chosen.user(options.user.as_deref()))
        .collect::<Result<_, _>>()?;
    let mut code = ExitCode::SUCCESS;
    for (((_, of_host), user), reach) in
        sources.iter().zip(&users).zip(reaches.into_iter().flatten())
    {
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
                let source = match path.as_slice() {
                    b"" => "the home folder".to_owned(),
                    path => shown(OsStr::from_bytes(path)).to_string(),
                };
                let what = format!("pull {source} from {host}");
                let (key, user) = (reach.key, user.as_deref());
                let way = Way { key, user, options: &options, finish: &finish, json };
                files.one(Pulled::new(path, dest, &way, &what), what).await;
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

/// How the files of a host are fetched.
struct Way<'a> {
    key: KeyId,
    user: Option<&'a str>,
    options: &'a TransferOptions,
    finish: &'a Finish,
    json: bool,
}

/// A file or a folder that comes here.
struct Pulled<'a> {
    request: Pull,
    /// Where to, if not to stdout.
    dest: Option<Destination>,
    owner: Owner,
    options: &'a TransferOptions,
    finish: &'a Finish,
    filter: Filter,
    /// Files of a folder that have ended a connection.
    avoid: Avoid,
    /// What is being done, as errors begin.
    what: String,
    json: bool,
    remarks: Remarks,
}

impl<'a> Pulled<'a> {
    fn new(
        source: &[u8],
        dest: Option<&[u8]>,
        way: &Way<'a>,
        what: &str,
    ) -> Result<Self, CliError> {
        // The name comes from what was asked for, never from the host.
        let named = |path: &[u8]| -> Result<_, CliError> {
            Ok(Destination { path: path.to_vec(), name: base_name(source, path)?.to_vec() })
        };
        let dest = dest.map(named).transpose()?;
        // Only a file can go to stdout.
        let options = TreeOptions { only: way.options.only()?, ..way.options.tree() };
        if options.only.iter().map(Vec::len).sum::<usize>() > MOST_LISTED {
            return Err(CliError::new("--files-from lists more than a pull can ask for, 512 KiB"));
        }
        let filter = Filter::new(&options.rules, &options.only)?;
        let tree = dest.is_some().then_some(options);
        let source = if source.is_empty() { b".".as_slice() } else { source };
        let sending = way.options.sending();
        let there = way.user.map(ToOwned::to_owned);
        let here = rustix::process::geteuid().as_raw();
        Ok(Self {
            request: Pull { source: source.to_vec(), sending, tree, user: there },
            dest,
            owner: Owner { key: way.key, user: here },
            options: way.options,
            finish: way.finish,
            filter,
            avoid: Avoid::new(),
            what: what.to_owned(),
            json: way.json,
            remarks: Remarks::default(),
        })
    }

    /// What receives a file.
    fn target(&self, offer: &Offer) -> Result<Target, Failure> {
        let Some(dest) = &self.dest else {
            return Ok(Target::Stream(
                Stream::new(std::io::stdout()).map_err(|e| stdout_failed(&e))?,
            ));
        };
        let place = Place::resolve(Path::new(""), dest)?;
        Ok(Target::File(Partial::open(place, self.owner, offer, Busy::Refuse)?))
    }

    async fn file(
        &self,
        session: &mut Session,
        offer: &Offer,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        self.options.check_for_file().map_err(Broken::Misused)?;
        let target = self.target(offer).map_err(Broken::Here)?;
        let (never, mut received) = (Cancel::default(), Received::default());
        let link = &mut session.link;
        let done = receive(link, target, offer, self.finish, bar, &never, &mut received).await;
        *moved = received.into();
        done.map(drop).map_err(|error| match error {
            TransferError::Local(failure) => Broken::Here(failure),
            error => Broken::Transfer(error),
        })
    }

    async fn tree(
        &mut self,
        session: &mut Session,
        root: Entry,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let arrival = self.arrival(root).map_err(Broken::Here)?;
        let watch = TreeBar::new(bar, &self.what, self.json);
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let done = receive_tree(&mut session.link, arrival, &watch, &never, &mut counts).await;
        *moved = (&counts).into();
        self.remarks = watch.into_remarks();
        match done {
            Ok(settled) => {
                moved.settled(&settled);
                Ok(())
            }
            Err(TransferError::Local(failure)) if counts.spoiled.is_none() => {
                Err(Broken::Here(failure))
            }
            Err(error) => Err(broken(error, counts, &mut self.avoid)),
        }
    }

    fn arrival(&self, root: Entry) -> Result<TreeArrival, Failure> {
        let none = || Failure::request(Cause::NotAFile(FileKind::Folder));
        let dest = self.dest.as_ref().ok_or_else(none)?;
        let options = self.request.tree.clone().unwrap_or_default();
        let open = if options.dry_run { TreeTarget::look } else { TreeTarget::open };
        let target = open(Path::new(""), dest, self.owner)?;
        target.lock()?;
        let (filter, finish, avoid) =
            (self.filter.clone(), self.finish.clone(), self.avoid.clone());
        Ok(TreeArrival { target, root, options, filter, finish, avoid })
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
        match expect_answer(session).await? {
            Answer::File(offer) => self.file(session, &offer, bar, moved).await,
            Answer::Tree(root) => self.tree(session, root, bar, moved).await,
        }
    }

    /// What went to stdout can't be taken back, nor begun again.
    fn can_go_on(&self, moved: &Moved) -> bool {
        self.dest.is_some() || moved.is_nothing()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}

fn stdout_failed(error: &std::io::Error) -> Failure {
    Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
}

/// What there is.
enum Answer {
    File(Offer),
    Tree(Entry),
}

/// The agent's answer: the file or folder as it is there, or why there is none.
async fn expect_answer(session: &mut Session) -> Result<Answer, Broken> {
    let link = &mut session.link;
    let answer = async {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Offer::KIND => {
                let offer: Offer = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a file that can't be");
                offer.check().map_err(bad)?;
                Ok(Ok(Answer::File(offer)))
            }
            Root::KIND => {
                let Root { entry } = link.reader.message()?;
                let bad = |_| LinkError::Misbehaved("it offers a folder that can't be");
                entry.check_root().map_err(bad)?;
                Ok(Ok(Answer::Tree(entry)))
            }
            Failure::KIND => Ok(Err(link.reader.message()?)),
            other => Err(LinkError::Unexpected(other)),
        }
    };
    answer.await.map_err(|e| Broken::Transfer(e.into()))?.map_err(Broken::refused)
}
