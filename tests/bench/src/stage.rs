//! What all cases share: the directory, the fleet and its agent, the other tools' servers.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use lariat_testing::agent::Agent;
use lariat_testing::binaries;
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;

use crate::guard::Guard;
use crate::measure::Meter;
use crate::options::Options;
use crate::tools::Tools;
use crate::tools::rsync::RsyncDaemon;
use crate::tools::ssh::Ssh;

/// Everything that keeps running. Fields are dropped in this order.
pub(crate) struct Stage {
    pub(crate) agent: Agent,
    pub(crate) fleet: TestFleet,
    /// The private sshd, or why there is none.
    pub(crate) ssh: Result<Ssh, String>,
    /// The private rsync daemon, or why there is none.
    pub(crate) rsync_daemon: Result<RsyncDaemon, String>,
    pub(crate) tools: Tools,
    pub(crate) options: Options,
    pub(crate) guard: Guard,
}

/// The name of the fleet's one host.
pub(crate) const HOST: &str = "web1";

impl Stage {
    /// Starts everything.
    pub(crate) fn new(options: Options) -> Self {
        // Before the clock, and before there is anything to clean up.
        binaries::build();
        let guard = Guard::new(&options.directory).expect("--directory can be written to");
        // So that the fleet's files are removed with everything else.
        tempfile::env::override_temp_dir(guard.directory()).expect("nothing has used another yet");
        let tools = Tools::find();
        let ssh = Ssh::start(&tools, &guard);
        let rsync_daemon = RsyncDaemon::start(&tools, &guard);
        let fleet = TestFleet::new();
        fleet.enroll(HOST, "127.0.0.1:1");
        let config = fleet.bundle(HOST).join("agent.toml");
        let address = "127.0.0.1:0".parse().expect("an address");
        let agent = Agent::start_by(config, address, |command| guard.join(command));
        fleet.set_address(HOST, agent.address);
        Self { agent, fleet, ssh, rsync_daemon, tools, options, guard }
    }

    /// Creates a directory with this name.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.guard.directory().join(name);
        fs::create_dir(&directory).expect("the directory for files can be written to");
        directory
    }

    /// Creates a file of incompressible bytes, of a size in bytes. Dropping it removes the file.
    pub(crate) fn source(&self, name: &str, size: u64) -> Temporary {
        let file = self.temporary(name);
        random_file(&file, size, size);
        file
    }

    /// Writes as much as a run will, and removes it. On a virtual machine whose host reclaims memory that was
    /// free for some seconds, runs would otherwise pay very different prices for memory, and the one that
    /// waited longest would pay most.
    pub(crate) fn warm(&self, bytes: u64) -> Result<(), String> {
        let file = self.temporary("warm");
        let written = fs::File::create(&*file)
            .and_then(|mut file| io::copy(&mut io::repeat(0).take(bytes), &mut file));
        written.map(drop).map_err(|e| format!("warm the memory up: {e}"))
    }

    /// The name of a file to be created. Dropping it removes the file.
    pub(crate) fn temporary(&self, name: &str) -> Temporary {
        Temporary(self.guard.directory().join(name))
    }

    /// A file's path relative to the directory, as the rsync daemon knows it.
    pub(crate) fn inside<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(self.guard.directory()).expect("files are in the directory")
    }

    /// `lariat` with these arguments.
    pub(crate) fn lariat(&self) -> Command {
        let mut command = self.fleet.lariat();
        self.guard.join(&mut command);
        command
    }

    /// A meter for runs against the agent.
    pub(crate) fn agent_meter(&self) -> Meter {
        Meter { server: vec![self.agent.pid()], ..self.local_meter() }
    }

    /// A meter for runs without a running server.
    pub(crate) fn local_meter(&self) -> Meter {
        Meter {
            directory: self.guard.directory().to_owned(),
            client: Vec::new(),
            server: Vec::new(),
            memory: true,
            discard: false,
        }
    }
}

/// A file that is removed when this is dropped.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl std::ops::Deref for Temporary {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The guard removes the file if this fails.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes every file of a directory.
pub(crate) fn empty(directory: &Path) -> Result<(), String> {
    let entries =
        fs::read_dir(directory).map_err(|e| format!("read {}: {e}", directory.display()))?;
    for entry in entries.flatten() {
        fs::remove_file(entry.path())
            .map_err(|e| format!("remove {}: {e}", entry.path().display()))?;
    }
    Ok(())
}

/// Compares two files byte by byte.
pub(crate) fn same(one: &Path, other: &Path) -> Result<(), String> {
    use std::io::Read;
    let open = |path: &Path| {
        fs::File::open(path).map_err(|e| format!("open {} to compare it: {e}", path.display()))
    };
    let (mut files, mut buffers) = ([open(one)?, open(other)?], [vec![], vec![]]);
    loop {
        for (file, buffer) in files.iter_mut().zip(&mut buffers) {
            buffer.clear();
            let read = file.take(1 << 20).read_to_end(buffer);
            read.map_err(|e| format!("read a copy to compare it: {e}"))?;
        }
        if buffers[0] != buffers[1] {
            return Err("the copy differs from its source".to_owned());
        }
        if buffers[0].is_empty() {
            return Ok(());
        }
    }
}
