//! The new agent: a file that is read once for all hosts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lariat_base::escape::escape;
use lariat_base::file_sum;
use lariat_engine::{CachedSource, ChunkCache, Source};
use lariat_wire::protocol::metadata::Preserve;

use crate::error::CliError;

/// The new agent.
pub(super) struct Program {
    path: PathBuf,
    file: CachedSource,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

impl Program {
    /// Opens the file, or `lariatd` beside this program.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()?.with_file_name("lariatd"),
        };
        let shown = || escape(path.as_os_str().as_encoded_bytes());
        let opened = Source::open(&path, Preserve::default());
        let source = opened.map_err(|error| CliError::from(error).hint("--file LARIATD"))?;
        let (size, sha256) = File::open(&path)
            .and_then(file_sum::sum)
            .map_err(|error| CliError::from(error).during(format!("read {}", shown())))?;
        if size == 0 || source.offer().size != Some(size) {
            return Err(CliError::new(format!("{}: this is not a whole program", shown())));
        }
        let file = CachedSource::new(source, &Arc::new(ChunkCache::default()));
        Ok(Self { path, file, size, sha256 })
    }

    /// Its name, for the record of the fan-out.
    pub(super) fn name(&self) -> String {
        escape(self.path.as_os_str().as_encoded_bytes())
    }

    /// The file, for one host.
    pub(super) fn source(&self) -> Source {
        self.file.source()
    }
}
