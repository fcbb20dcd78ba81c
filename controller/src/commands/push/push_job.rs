//! The sources of a push. For one host they are opened as they are sent; for many, they are opened in advance
//! and read once.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use lariat_base::name::HostName;
use lariat_engine::tree::Filter;
use lariat_engine::{CachedSource, ChunkCache, Source};
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::Request;

use super::file::Pushed;
use super::stdin::{STDIN, now};
use super::tree::PushedTree;
use crate::error::CliError;
use crate::fanout::HostContext;
use crate::output;
use crate::template::Template;
use crate::transfer::{
    Files, HERE, Listing, Taken, TransferJob, TransferOptions, check_sources, glob_hint, shown,
    taken,
};

/// The sources and the destination.
pub(crate) struct PushJob {
    sources: Vec<SourceSpec>,
    /// The path on each host.
    dest: Template,
    options: TransferOptions,
    /// The listed paths of a directory; all of it if empty.
    only: Vec<Vec<u8>>,
    /// Excludes files.
    filter: Filter,
}

struct SourceSpec {
    path: OsString,
    kind: Kind,
    /// What an earlier source has.
    taken: Taken,
}

enum Kind {
    File,
    Directory,
    /// An open file that all hosts share.
    Shared(Box<CachedSource>),
    /// Each host has its own file, at this path.
    PerHost(Template),
    /// A source that can't be sent, which is reported once for all hosts.
    Bad(CliError),
}

impl PushJob {
    /// Inspects the sources without opening them.
    pub(crate) fn new(
        sources: Vec<OsString>,
        dest: &[u8],
        options: TransferOptions,
    ) -> Result<Self, CliError> {
        let several = sources.len() > 1;
        check_sources(
            sources.iter().map(|source| source.as_bytes()),
            options.delete,
            options.lists(),
        )?;
        // Several sources need a directory.
        let dest = if several && !dest.is_empty() { [dest, b"/"].concat() } else { dest.to_vec() };
        let dest = Template::parse(&dest)?;
        let mut specs: Vec<SourceSpec> = Vec::new();
        for source in sources {
            // One that is named twice is sent once.
            if specs.iter().all(|spec| spec.path != source) {
                specs.push(SourceSpec::new(source));
            }
        }
        let any = specs.iter().any(|source| matches!(source.kind, Kind::Directory));
        let only = if any { options.only()? } else { Vec::new() };
        let filter = Filter::new(&options.tree().rules, &[])?;
        if specs.len() > 1 && any {
            let paths: Vec<&OsStr> = specs.iter().map(|spec| spec.path.as_os_str()).collect();
            let all = taken(&paths, &filter);
            for (spec, taken) in specs.iter_mut().zip(all) {
                spec.taken = taken;
            }
        }
        Ok(Self { sources: specs, dest, options, only, filter })
    }

    /// Says which names are not sent, because an earlier source has them too.
    pub(crate) fn tell_taken(&self) {
        let told = |source: &SourceSpec| source.taken.told(&source.path);
        self.sources.iter().filter_map(told).for_each(|told| output::note(&told));
    }

    /// Opens the files, so that each is read once for all hosts. Stdin is first read to its end. A file that
    /// can't be opened does not stop the others ([`PushJob::bad`]).
    pub(crate) fn shared(mut self) -> Self {
        let chunks = Arc::new(ChunkCache::default());
        let Self { sources, options, filter, .. } = &mut self;
        for source in sources.iter_mut().filter(|source| !source.is_left_out(filter)) {
            if let Kind::File = source.kind {
                source.kind = source.prepare(options, &chunks).unwrap_or_else(Kind::Bad);
            }
        }
        self
    }

    /// The errors of sources that can't be sent.
    pub(crate) fn bad(&self) -> Vec<CliError> {
        let why = |source: &SourceSpec| match &source.kind {
            Kind::Bad(error) => Some(error.clone().during(format!("push {}", shown(&source.path)))),
            _ => None,
        };
        self.sources.iter().filter_map(why).collect()
    }

    /// The number of sources.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Makes it a step of a plan, where `{host}` in a source is replaced by the host's name. Then each of
    /// `hosts` must have its own file.
    pub(crate) fn of_plan(mut self, hosts: &[HostName]) -> Result<Self, CliError> {
        for source in &mut self.sources {
            let path = Template::parse(source.path.as_bytes())?;
            if !path.names_host() {
                // Doubled braces stand for braces.
                let path = OsString::from_vec(path.text());
                if path != source.path {
                    *source = SourceSpec::new(path);
                }
                continue;
            }
            for host in hosts {
                let own = OsString::from_vec(path.for_host(host));
                std::fs::metadata(&own).map_err(|error| {
                    let what = format!("push {} to {host}", shown(&own));
                    CliError::from(error).during(HERE).during(what)
                })?;
            }
            source.kind = Kind::PerHost(path);
        }
        let job = self.shared();
        job.bad().into_iter().next().map_or(Ok(job), Err)
    }
}

impl TransferJob for PushJob {
    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn word(&self) -> &'static str {
        "sent"
    }

    fn asked(&self, host: &HostName, user: Option<String>) -> Result<Vec<Request>, CliError> {
        let (preserve, overrides) = (self.options.preserve(), self.options.overrides());
        Ok(vec![hypothetical::push(self.dest.for_host(host), user, preserve, overrides)])
    }

    async fn transfer(
        &self,
        files: &mut Files<'_>,
        host: &HostContext<'_>,
        user: Option<&str>,
        listing: &Listing,
    ) {
        let (host, handle) = (&host.chosen.host, &host.handle);
        let dest = self.dest.for_host(host);
        let (options, only) = (&self.options, &self.only);
        files.are(self.sources.len());
        for source in &self.sources {
            let own = match &source.kind {
                Kind::PerHost(path) => {
                    Some(SourceSpec::new(OsString::from_vec(path.for_host(host))))
                }
                _ => None,
            };
            let source = own.as_ref().unwrap_or(source);
            if source.is_left_out(&self.filter) {
                continue;
            }
            let what = format!("push {} to {host}", shown(&source.path));
            let path = &source.path;
            if let Kind::Directory = source.kind {
                let listing = listing.clone();
                let earlier = source.taken.earlier.clone();
                let only = (only.as_slice(), earlier);
                let item = PushedTree::open(path, &dest, user, options, only, &what, listing)
                    .map(|pushed| pushed.over(options.streams(), handle));
                files.one(item, what).await;
            } else {
                let item = source
                    .open(options)
                    .and_then(|file| Pushed::new(path, file, &dest, user, options, &what, listing))
                    .map(|pushed| pushed.over(options.streams(), handle));
                files.one(item, what).await;
            }
        }
    }
}

impl SourceSpec {
    fn new(path: OsString) -> Self {
        let directory = path != STDIN && Path::new(&path).is_dir();
        let kind = if directory { Kind::Directory } else { Kind::File };
        Self { path, kind, taken: Taken::default() }
    }

    /// Whether an earlier source has all of it, or the rules exclude it. For a directory they only apply to its
    /// contents, and a missing source must be reported.
    fn is_left_out(&self, filter: &Filter) -> bool {
        let path = Path::new(&self.path);
        self.taken.is_all()
            || !matches!(self.kind, Kind::Directory)
                && self.path != STDIN
                && filter.excludes_file(path)
                && path.exists()
    }

    /// Opens a file that is read once for all hosts, or prepares its description.
    fn prepare(
        &self,
        options: &TransferOptions,
        chunks: &Arc<ChunkCache>,
    ) -> Result<Kind, CliError> {
        options.check_for_file()?;
        if options.dry_run && self.path == STDIN {
            return Ok(Kind::File);
        }
        let source = open_to_keep(&self.path, options.preserve());
        let source =
            source.map_err(|error| glob_hint(self.path.as_bytes(), error, false).during(HERE))?;
        Ok(Kind::Shared(Box::new(CachedSource::new(source, chunks))))
    }

    fn open(&self, options: &TransferOptions) -> Result<Source, CliError> {
        match &self.kind {
            Kind::Shared(shared) => return Ok(shared.source()),
            Kind::Bad(error) => return Err(error.clone().quiet()),
            _ => {}
        }
        options.check_for_file()?;
        if self.path == STDIN {
            return open_stdin(options.dry_run);
        }
        let source = Source::open(Path::new(&self.path), options.preserve());
        source
            .map_err(|failure| glob_hint(self.path.as_bytes(), failure.into(), false).during(HERE))
    }
}

/// Opens a file that is read more than once. A stream, such as stdin, is copied to an unnamed file.
fn open_to_keep(path: &OsString, preserve: Preserve) -> Result<Source, CliError> {
    let kept = |mut from: Box<dyn io::Read>| {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut from, &mut file)?;
        Ok(file)
    };
    let read = |error: io::Error| CliError::from(error).during("read it to its end");
    if path == STDIN {
        return Ok(Source::spooled(kept(Box::new(io::stdin())).map_err(read)?)?);
    }
    let source = Source::open(Path::new(path), preserve)?;
    if source.offer().size.is_some() {
        return Ok(source);
    }
    let file = File::open(path).and_then(|file| kept(Box::new(file))).map_err(read)?;
    Ok(Source::spooled(file)?)
}

/// Opens stdin; a dry run reads nothing from it.
fn open_stdin(dry_run: bool) -> Result<Source, CliError> {
    let opened = if dry_run {
        Source::stream(io::empty(), now())
    } else {
        Source::stream(io::stdin(), now())
    };
    opened.map_err(|e| CliError::from(e).during("read stdin"))
}
