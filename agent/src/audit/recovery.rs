//! Opens the chain at the agent's start, in whatever state the last run left it.
//!
//! An incomplete line at the end, which a killed process or a power cut leaves, is cut off. Whatever else is wrong stays
//! as it is, for `audit verify` to name, and the chain goes on in a new file. Both are told by a line.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lariat_base::audit::{FileName, Hash, NO_HASH, Verifier, Whole, Wrong, read};
use lariat_base::os_error::io_error;
use lariat_base::secret::random;
use rustix::fs::FlockOperation;

use super::files;
use super::journal::{Journal, Tail};
use super::line::{About, Opened};
use super::unfinished::{Search, Unfinished};
use crate::config::Config;

/// The directory of the files in the state directory.
const DIRECTORY: &str = "audit";

/// How long an earlier agent on the same directory may take to end.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// The directory of an audit's files.
pub(super) fn directory(state: &Path) -> PathBuf {
    state.join(DIRECTORY)
}

/// How the newest file ends.
struct Newest {
    name: FileName,
    result: Result<Whole, Wrong>,
    /// The chain's id, if its first line tells it.
    chain: String,
    /// Number and hash of the last line that can be read, right or not.
    last: Option<(u64, Hash)>,
    bytes: Vec<u8>,
}

/// Opens the chain of this state directory, and begins it if there is none. Returns also the requests of its newest files
/// that have not ended.
pub(super) fn open(config: &Config) -> io::Result<(Journal, Vec<Unfinished>)> {
    let directory = directory(&config.state);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let handle = File::open(&directory)?;
    lock(&handle)?;
    let mut names = files::list(&directory)?;
    let newest = loop {
        let Some(&name) = names.last() else { break None };
        let newest = examine(&directory, name)?;
        if newest.last.is_some() || newest.result.is_err() {
            break Some(newest);
        }
        // The agent ended before the file had its first line.
        std::fs::remove_file(directory.join(name.to_string()))?;
        names.pop();
    };
    let unfinished = unfinished(&directory, &names, newest.as_ref());
    let chain = match &newest {
        Some(newest) => id(&newest.chain).or_else(|| earlier(&directory, &names)),
        None => None,
    };
    let chain = chain.map_or_else(new_id, Ok)?;
    let opened = Opened {
        chain: hex::encode(chain),
        host: config.name.to_string(),
        enrolment: config.enrolment.to_string(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let Some(newest) = newest else {
        let tail = Tail { file: None, seq: 0, hash: NO_HASH };
        let journal = Journal::new((&directory, handle), chain, opened, tail);
        return Ok((started(journal), unfinished));
    };
    match newest.result {
        Ok(Whole { last, hash, len, cut, .. }) => {
            let path = directory.join(newest.name.to_string());
            let file = OpenOptions::new().append(true).open(path)?;
            if cut > 0 {
                file.set_len(len)?;
            }
            let tail = Tail { file: Some((newest.name, file, len)), seq: last, hash };
            let mut journal = Journal::new((&directory, handle), chain, opened, tail);
            if cut > 0 {
                tracing::warn!(
                    "audit: {cut} bytes of an incomplete line were cut off {}",
                    newest.name
                );
                add(&mut journal, "cut", &About { bytes: Some(cut), ..About::default() });
            }
            Ok((started(journal), unfinished))
        }
        Err(wrong) => {
            tracing::error!("audit: {}: {wrong}", directory.display());
            let (seq, hash) = newest.last.unwrap_or((0, NO_HASH));
            // The next file is the newest one in any case.
            let tail = Tail { file: None, seq: seq.max(newest.name.0), hash };
            let mut journal = Journal::new((&directory, handle), chain, opened, tail);
            let error = Some(wrong.to_string());
            add(&mut journal, "broken", &About { error, ..About::default() });
            Ok((started(journal), unfinished))
        }
    }
}

/// The requests of the two newest files that have no line of their end.
fn unfinished(directory: &Path, names: &[FileName], newest: Option<&Newest>) -> Vec<Unfinished> {
    let mut search = Search::default();
    if let [.., before, _] = names {
        match std::fs::read(directory.join(before.to_string())) {
            Ok(bytes) => search.lines(&bytes),
            Err(error) => tracing::error!("audit: read {before}: {}", io_error(&error)),
        }
    }
    newest.into_iter().for_each(|newest| search.lines(&newest.bytes));
    search.found()
}

fn started(mut journal: Journal) -> Journal {
    add(&mut journal, "started", &About::default());
    journal
}

/// Appends a line of the audit itself. An agent whose disk is full starts all the same.
fn add(journal: &mut Journal, event: &str, about: &About) {
    if let Err(error) = journal.append(event, &[about], true) {
        tracing::error!("audit: {event} can't be written down: {}", io_error(&error));
        journal.lose();
    }
}

/// Two agents in one directory would break the chain.
fn lock(directory: &File) -> io::Result<()> {
    let end = Instant::now() + PREDECESSOR;
    loop {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(10)),
            Err(_) => {
                return Err(io::Error::other("another lariatd runs with this state directory"));
            }
        }
    }
}

fn examine(directory: &Path, name: FileName) -> io::Result<Newest> {
    let mut file = File::open(directory.join(name.to_string()))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut verifier = Verifier::from_middle();
    let fed = verifier.file(name).and_then(|()| verifier.bytes(&bytes, &mut |_, _| ()));
    let chain = verifier.so_far().chain.clone();
    let result = fed.and_then(|()| verifier.finish());
    let lines = bytes.split(|&b| b == b'\n').filter_map(|line| read(line).ok());
    let last = match &result {
        Ok(whole) => (whole.last > 0).then_some((whole.last, whole.hash)),
        Err(_) => lines.map(|head| (head.seq, head.hash)).max_by_key(|(seq, _)| *seq),
    };
    Ok(Newest { name, result, chain, last, bytes })
}

/// The chain's id as a file before the newest one tells it.
fn earlier(directory: &Path, names: &[FileName]) -> Option<[u8; 16]> {
    names.iter().rev().find_map(|name| id(&examine(directory, *name).ok()?.chain))
}

fn id(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok().map(|()| id)
}

fn new_id() -> io::Result<[u8; 16]> {
    random().map_err(io::Error::other)
}
