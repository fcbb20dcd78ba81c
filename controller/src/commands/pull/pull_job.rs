//! What a pull fetches from each host, and the local destination.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_base::name::HostName;
use lariat_client::transfer::{Fetch, FetchOptions, is_contents};
use lariat_engine::ResolvedOverrides;
use lariat_engine::account;
use lariat_engine::tree::Brought;
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::request::Request;
use lariat_wire::protocol::tree::TreeOptions;

use super::item::Pulled;
use super::stdout::STDOUT;
use crate::error::CliError;
use crate::fanout::HostContext;
use crate::template::Template;
use crate::tilde;
use crate::transfer::{Files, HERE, Listing, TransferJob, TransferOptions, shown};

/// Most bytes of listed paths in one request.
const MOST_LISTED: usize = 512 * 1024;

/// The sources and the destination.
pub(crate) struct PullJob {
    paths: Vec<Template>,
    /// The destination; `None` for stdout.
    dest: Option<Template>,
    /// Files of several hosts go to the same place.
    many: bool,
    options: TransferOptions,
    /// The listed paths of a directory; all of it if empty.
    only: Vec<Vec<u8>>,
    finish: ResolvedOverrides,
    /// For each host the indexes of its sources; all of them if empty.
    by_host: Vec<Vec<usize>>,
}

impl PullJob {
    pub(crate) fn new(
        paths: Vec<Template>,
        dest: &[u8],
        options: TransferOptions,
        many: bool,
        by_host: Vec<Vec<usize>>,
    ) -> Result<Self, CliError> {
        let finish = account::resolve(&options.overrides());
        let finish = finish.map_err(|error| CliError::from(error).during(HERE))?;
        let only = options.only()?;
        if only.iter().map(Vec::len).sum::<usize>() > MOST_LISTED {
            return Err(CliError::new("--files-from lists more than a pull can ask for, 512 KiB"));
        }
        let dest = (dest != STDOUT)
            .then(|| Template::parse(tilde::local(OsStr::from_bytes(dest)).as_bytes()));
        let dest = dest.transpose()?;
        Ok(Self { paths, dest, many, options, only, finish, by_host })
    }

    /// The destination of a host's files.
    fn place(&self, dest: &Template, host: &HostName) -> Vec<u8> {
        let mut place = dest.for_host(host);
        if self.many && !dest.names_host() {
            // Each host's files get a directory of their own.
            if !place.is_empty() {
                place.push(b'/');
            }
            place.extend_from_slice(format!("{host}/").as_bytes());
        } else if self.paths.len() > 1 && !place.is_empty() {
            // Several sources need a directory.
            place.push(b'/');
        }
        place
    }
}

impl TransferJob for PullJob {
    fn options(&self) -> &TransferOptions {
        &self.options
    }

    fn word(&self) -> &'static str {
        "received"
    }

    fn asked(&self, host: &HostName, user: Option<String>) -> Result<Vec<Request>, CliError> {
        let asked = |path: &Template| {
            hypothetical::pull(path.for_host(host), user.clone(), Some(self.options.tree()))
        };
        Ok(self.paths.iter().map(asked).collect())
    }

    async fn transfer(
        &self,
        files: &mut Files<'_>,
        host: &HostContext<'_>,
        user: Option<&str>,
        listing: &Listing,
    ) {
        let HostContext { number, handle, .. } = host;
        let host = handle.name();
        let dest = self.dest.as_ref().map(|dest| self.place(dest, host));
        let options = FetchOptions {
            user: user.map(ToOwned::to_owned),
            sending: self.options.sending(),
            tree: TreeOptions { only: self.only.clone(), ..self.options.tree() },
            file_only: false,
            overrides: self.finish.clone(),
            brought: None,
        };
        let mine = self.by_host.get(*number);
        let is_meant = |path: &usize| mine.is_none_or(|mine| mine.contains(path));
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for (_, path) in self.paths.iter().enumerate().filter(|(path, _)| is_meant(path)) {
            let path = path.for_host(host);
            // One that is named twice is fetched once.
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        files.are(paths.len());
        // Names that are linked to each other must all be of one source.
        let meet = paths.len() > 1 && paths.iter().any(|path| is_contents(path));
        let mut brought = (meet && !options.tree.hard_links).then(Brought::default);
        for path in paths {
            let name = own_name(&path);
            brought = brought.map(|brought| brought.next(name));
            if brought.as_ref().is_some_and(|brought| brought.has_file(name)) {
                let path = shown(OsStr::from_bytes(&path));
                files.note(format!("{path}: it is left out, for an earlier source has it too"));
                continue;
            }
            let options = FetchOptions { brought: brought.clone(), ..options.clone() };
            let source = match path.as_slice() {
                b"" => "the home directory".to_owned(),
                path => shown(OsStr::from_bytes(path)).to_string(),
            };
            let what = format!("pull {source} from {host}");
            let fetch = Fetch::new(&path, dest.as_deref(), handle.key(), options);
            let item = fetch
                .map(|fetch| fetch.over(self.options.streams(), handle))
                .map_err(CliError::from);
            let item = item.map(|fetch| Pulled::new(fetch, &what, listing));
            Box::pin(files.one(item, what)).await;
        }
    }
}

/// The name that a source has at the destination; empty if only its contents go there.
fn own_name(path: &[u8]) -> &[u8] {
    if is_contents(path) { b"" } else { path.rsplit(|&byte| byte == b'/').next().unwrap_or(path) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        options: TransferOptions,
    }

    #[test]
    fn files_of_several_hosts_are_separate() {
        let place = |paths: usize, dest: &str, many| {
            let options = Options::parse_from(["pull"]).options;
            let paths = vec![Template::plain(b"a"); paths];
            let job = PullJob::new(paths, dest.as_bytes(), options, many, Vec::new()).unwrap();
            let place = job.place(job.dest.as_ref().unwrap(), &"web1".parse().unwrap());
            String::from_utf8(place).unwrap()
        };
        assert_eq!(place(1, "x", false), "x");
        assert_eq!(place(2, "x", false), "x/");
        assert_eq!(place(1, "x", true), "x/web1/");
        assert_eq!(place(2, "", true), "web1/");
        assert_eq!(place(1, "{host}.log", true), "web1.log");
        assert_eq!(place(2, "{host}.log", true), "web1.log/");
        assert_eq!(place(1, "{host}.log", false), "web1.log");
        assert_eq!(place(1, "{{host}}", true), "{host}/web1/");
    }
}
