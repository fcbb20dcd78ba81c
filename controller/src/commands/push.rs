//! `lariat push`: sends files and folders to a host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_common::protocol::transfer::{Destination, Push, Sending, Time};
use lariat_common::transfer::{Cancel, Sent, Source, TransferError, send};

use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::reach::{self, Fleet};
use crate::runtime::block_on;
use crate::target::RemotePath;
use crate::transfer::{
    Bar, Broken, Files, Item, Moved, PushedTree, Tally, TransferOptions, base_name, for_host,
    one_host, shown,
};

/// The source that is stdin.
const STDIN: &str = "-";

#[derive(clap::Args)]
#[command(after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and
for a file so does a folder that is there already. Missing parents are made. A relative or empty
DEST begins at the user's home; {host} in DEST is the host's name. A connection that breaks is made
again and the push goes on; one that was given up is run again, and only what is missing is sent.
Of a file that is there already only what differs is.

Examples:
  lariat push app.tar.gz web1:/srv/            makes /srv/app.tar.gz
  lariat push nginx.conf web1:/etc/nginx/nginx.conf --backup
  lariat push a.deb b.deb web1:/tmp/
  lariat push site web1:/srv/www --delete       makes /srv/www the copy of site
  lariat push site web1:/srv/www --delete --exclude '*.tmp' --dry-run
  pg_dump app | lariat push - web1:/backup/app.sql --compress
  lariat push --json app.tar.gz web1: | jq .reused")]
pub(crate) struct Args {
    /// Files and folders to send; - is stdin
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
    let RemotePath { target, path } = RemotePath::parse(&dest)?;
    let chosen = one_host(&target)?;
    let mut path = for_host(&path, &chosen.host);
    if sources.len() > 1 && !path.is_empty() {
        // Several sources need a folder.
        path.push(b'/');
    }
    let user = chosen.user(options.user.as_deref())?;
    let host = chosen.host.as_str();
    let reach = match Fleet::load(context, &connect).and_then(|fleet| fleet.reach(&chosen)) {
        Ok(reach) => reach,
        Err(error) => return Tally::only(error).report(host, json, context.verbose),
    };
    let tally = block_on(async {
        let mut files = Files::new(&reach, options.reconnect);
        for source in &sources {
            let what = format!("push {} to {host}", shown(source));
            if source != STDIN && Path::new(source).is_dir() {
                let item = PushedTree::open(source, &path, user.as_deref(), &options, &what, json);
                files.one(item, what).await;
            } else {
                files.one(Pushed::open(source, &path, user.as_deref(), &options), what).await;
            }
        }
        Ok(files.finish().await)
    })?;
    tally.report(host, json, context.verbose)
}

/// A file that goes there.
struct Pushed {
    file: Source,
    stdin: bool,
    request: Push,
    sending: Sending,
}

impl Pushed {
    fn open(
        source: &OsStr,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
    ) -> Result<Self, CliError> {
        options.check_for_file()?;
        let stdin = source == STDIN;
        let file = if stdin { open_stdin()? } else { Source::open(Path::new(source))? };
        let name = if stdin { name_for_stdin(dest)? } else { base_name(source.as_bytes(), dest)? };
        let dest = Destination { path: dest.to_vec(), name: name.to_vec() };
        let (offer, placement) = (file.offer().clone(), options.placement());
        let request = Push { dest, offer, placement, user: user.map(ToOwned::to_owned) };
        Ok(Self { file, stdin, request, sending: options.sending() })
    }
}

impl Item for Pushed {
    type Request = Push;

    fn request(&self) -> &Push {
        &self.request
    }

    fn name(&self) -> &[u8] {
        &self.request.dest.name
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let (never, mut sent) = (Cancel::default(), Sent::default());
        let file = &mut self.file;
        let done = send(&mut session.link, file, self.sending, bar, &never, &mut sent).await;
        *moved = sent.into();
        match (done, bar.has_begun()) {
            (Ok(_), _) => Ok(()),
            (Err(TransferError::Remote(failure)), false) => Err(Broken::refused(failure)),
            (Err(error), _) => Err(Broken::Transfer(error)),
        }
    }

    /// Stdin can't be read again.
    fn can_go_on(&self, _: &Moved) -> bool {
        !self.stdin
    }
}

/// Stdin has no name of its own, so the destination must be one.
fn name_for_stdin(dest: &[u8]) -> Result<&[u8], CliError> {
    let inside = Destination { path: dest.to_vec(), name: Vec::new() }.is_inside();
    base_name(dest, b"").ok().filter(|_| !inside).ok_or_else(|| {
        CliError::new("stdin needs a name at its destination")
            .hint("lariat push - HOST:/FOLDER/NAME")
    })
}

fn open_stdin() -> Result<Source, CliError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Time {
        secs: i64::try_from(since.as_secs()).unwrap_or_default(),
        nanos: since.subsec_nanos(),
    };
    Source::stream(std::io::stdin(), now).map_err(|e| CliError::from(e).during("read stdin"))
}
