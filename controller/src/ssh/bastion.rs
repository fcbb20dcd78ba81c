//! Connections through a machine that the operator's ssh reaches, with nothing of lariat on it.
//!
//! One ssh logs in there, with the operator's configuration, agent and second factor; each connection is then one of
//! its `-W`, whatever the number of logins that the machine accepts at once.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lariat_base::escape::escape;
use lariat_base::lock::lock;
use lariat_client::{BoxStream, Dial, DialError, Dialing, Peer};
use rand::RngExt;
use tokio::sync::OnceCell;

use super::place::Place;
use super::program::Ssh;
use super::proxy::{connection, failed};

/// Connects through a bastion of ssh, which is logged in to at the first connection.
pub(crate) struct Bastion {
    place: Place,
    master: OnceCell<Master>,
}

/// The ssh that has logged in. It ends with this program, or a minute after its last connection.
struct Master {
    ssh: Ssh,
    /// Holds the master's socket.
    directory: PathBuf,
}

impl Bastion {
    async fn through(&self, peer: &Peer) -> Result<BoxStream, DialError> {
        let address = peer.address.as_ref().ok_or(DialError::NoAddress)?;
        let master = self.master.get_or_try_init(|| Master::start(&self.place)).await?;
        let command = master.ssh.forward(&self.place, &master.socket(), address);
        connection(command).map_err(|error| failed("start ssh", error))
    }
}

impl Dial for Bastion {
    fn dial<'a>(&'a self, peer: &'a Peer) -> Dialing<'a> {
        Box::pin(self.through(peer))
    }

    fn via(&self) -> Option<String> {
        Some(format!("ssh:{}", self.place))
    }
}

impl Master {
    async fn start(place: &Place) -> Result<Self, DialError> {
        let leg = |text: String| DialError::Leg { source: text.into(), is_refusal: false };
        let ssh = Ssh::new("ssh").map_err(|error| leg(error.line()))?;
        let directory = directory().map_err(|error| failed("make a directory for ssh", error))?;
        let master = Self { ssh, directory };
        let output = master.ssh.master(place, &master.socket()).output().await;
        let output = output.map_err(|error| failed("start ssh", error))?;
        if output.status.success() {
            return Ok(master);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next_back().unwrap_or("it ended without a word");
        let (said, by_hand) = (escape(said.trim().as_bytes()), master.ssh.by_hand(place));
        Err(leg(format!("ssh:{place}: {said}; try: {by_hand}")))
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("ssh")
    }
}

/// The bastions that are in use: each is logged in to once. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Bastions(Arc<Mutex<Vec<Arc<Bastion>>>>);

impl Bastions {
    /// The bastion at this place.
    pub(crate) fn at(&self, place: &Place) -> Arc<Bastion> {
        let mut all = lock(&self.0);
        if let Some(known) = all.iter().find(|known| known.place == *place) {
            return Arc::clone(known);
        }
        let new = Arc::new(Bastion { place: place.clone(), master: OnceCell::new() });
        all.push(Arc::clone(&new));
        new
    }

    /// Ends every ssh that has logged in. Each would end by itself a little later.
    pub(crate) fn end(&self) {
        for bastion in lock(&self.0).drain(..) {
            if let Some(master) = bastion.master.get() {
                let _ = master.ssh.end(&bastion.place, &master.socket()).output();
                let _ = fs::remove_dir_all(&master.directory);
            }
        }
    }
}

/// A directory that nobody else may enter, with a path that is short enough for a socket below it.
fn directory() -> io::Result<PathBuf> {
    let name = format!("lariat-{:016x}", rand::rng().random::<u64>());
    let directory = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory)
}
