//! One file over a link of 1 Gbit/s between two network namespaces, with a delay and loss.
//!
//! Every connection has the kernel's own TCP at both ends, with its default buffers. The link's queue holds what is
//! under way in one round trip. The link's own work is not counted as that of other processes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{park_timeout, scope};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::network::{Conditions, FAR, Network};
use lariat_testing::rng::Rng;
use rustix::process::Pid;

use super::size;
use crate::bar::Bar;
use crate::measure::{Measured, Meter, Sample};
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage, empty, same};
use crate::stats::{Spread, as_f64};
use crate::table::Table;
use crate::tools::rsync::RsyncDaemon;
use crate::tools::ssh::{Cipher, Ssh};
use crate::tools::{Way, lariat, rsync};

const ONE: &str = "lariat, one connection";
const FOUR: &str = "lariat, 4 connections";
const CUT: &str = "lariat, 4 connections, one cut each second";
const SCP: &str = "scp, aes128-gcm";
const RSYNC: &str = "rsync over ssh, aes128-gcm";
const RSYNC_DAEMON: &str = "rsync daemon, plaintext";

const RATE: u64 = 1_000_000_000;

const SECOND: Duration = Duration::from_secs(1);

/// Few rounds, because the slow ones are very slow.
const MOST_ROUNDS: u32 = 3;

pub(crate) fn run(stage: &Stage, case: &'static str, millis: u64, loss: u32) -> Table {
    let bytes = stage.options.size / 8;
    let source = stage.source("source", bytes);
    let conditions = Conditions::new(Duration::from_millis(millis) / 2, loss, RATE);
    let ends = Ends::new(stage, case, conditions);
    let (directory, shares) = (stage.directory(case), RefCell::default());
    let run = Run { stage, ends, from: &source, directory, shares };
    let rounds = stage.options.rounds.min(MOST_ROUNDS);
    let rows = interleave(case, rounds, run.contenders(), &stage.options);
    let percent = f64::from(loss) / 10_000.0;
    let title = format!(
        "Push of one new file, {}, over a link of 1 Gbit/s, {millis} ms, {percent}% loss",
        size(bytes)
    );
    let mut table = Table { case, title, bytes: Some(bytes), rows, bars: Vec::new() };
    table.bars = bars(&table, run.shares.into_inner());
    table
}

fn bars(table: &Table, shares: Vec<f64>) -> Vec<Bar> {
    let faster = |peer, times| {
        let words = format!("{}: times as fast as {peer}", table.case);
        Bar::at_least(words, times, "", table.ratio(peer, lariat::NAME))
    };
    match table.case {
        "link-100" => {
            let words = "link-100: share of the link after the first second";
            vec![Bar::at_least(words, 0.9, "", Spread::of(shares))]
        }
        "link-100-0.1" => {
            vec![faster(SCP, 4.0), faster(RSYNC, 4.0), faster(RSYNC_DAEMON, 4.0), faster(ONE, 2.5)]
        }
        "link-20" => {
            let words = "link-20: share of the time without cuts";
            vec![Bar::at_most(words, 1.3, "", table.ratio(CUT, FOUR))]
        }
        _ => Vec::new(),
    }
}

/// The link, and the servers at its far end. Fields are dropped in this order.
struct Ends {
    agent: Agent,
    ssh: Result<Ssh, String>,
    rsync_daemon: Result<RsyncDaemon, String>,
    fleet: TestFleet,
    network: Network,
}

impl Ends {
    fn new(stage: &Stage, case: &str, conditions: Conditions) -> Result<Self, String> {
        let network = Network::new(conditions)?;
        let fleet = TestFleet::new();
        fleet.enroll(HOST, "192.0.2.1:1");
        let config = fleet.bundle(HOST).join("agent.toml");
        let Stage { tools, guard, .. } = stage;
        let [ssh, rsyncd] = ["ssh", "rsyncd"].map(|name| format!("{case}-{name}"));
        let (agent, ssh, rsync_daemon) = network.far.enter(|| {
            let listen = SocketAddr::from((FAR, 0));
            (
                Agent::start_by(config, listen, |command| guard.join(command)),
                Ssh::start(tools, guard, &ssh, FAR),
                RsyncDaemon::start(tools, guard, &rsyncd, FAR),
            )
        });
        fleet.set_address(HOST, agent.address);
        Ok(Self { agent, ssh, rsync_daemon, fleet, network })
    }
}

struct Run<'a> {
    stage: &'a Stage,
    /// Or why this machine has no such link.
    ends: Result<Ends, String>,
    from: &'a Path,
    /// Where the copies go.
    directory: PathBuf,
    /// Which share of the link lariat filled after its first second.
    shares: RefCell<Vec<f64>>,
}

impl Run<'_> {
    fn contenders(&self) -> Vec<Contender<'_>> {
        let ends = || self.ends.as_ref().map_err(Clone::clone);
        let ssh = || ends().and_then(|ends| Ok((ends, ends.ssh.as_ref().map_err(Clone::clone)?)));
        let daemon = ends().and_then(|ends| {
            let daemon = ends.rsync_daemon.as_ref().map_err(Clone::clone)?;
            Ok((ends, daemon))
        });
        let [rsync, ss] = ["rsync", "ss"].map(|tool| self.stage.tools.get(tool));
        let (to, whole) = (self.directory.join("copy"), ["--whole-file"]);
        let [to_scp, to_rsync, to_daemon] = std::array::from_fn(|_| to.clone());
        let lariat = |name, streams| {
            Contender::maybe(name, ends(), move |round, ends| {
                let command = self.lariat(ends, streams);
                lariat::sample(self.measure(round, ends, ends.agent.pid(), command)?)
            })
        };
        vec![
            Contender::maybe(lariat::NAME, ends(), |round, ends| self.auto(round, ends)),
            lariat(ONE, "1"),
            lariat(FOUR, "4"),
            lariat("lariat, 8 connections", "8"),
            Contender::maybe(CUT, ends().and_then(|ends| Ok((ends, ss?))), |round, (ends, ss)| {
                self.cut(round, ends, ss)
            }),
            Contender::maybe(SCP, ssh(), move |round, (ends, ssh)| {
                let cipher = Cipher::Aes128Gcm;
                let command = ssh.scp(self.stage, cipher, Way::Push, &[], self.from, &to_scp);
                Ok(self.measure(round, ends, ssh.pid(), command)?.sample)
            }),
            Contender::maybe(RSYNC, ssh().and_then(|ssh| Ok((ssh, rsync?))), move |round, tool| {
                let ((ends, ssh), rsync) = tool;
                let (tool, cipher) = ((*ssh, rsync.as_path()), Cipher::Aes128Gcm);
                let (stage, from) = (self.stage, self.from);
                let command =
                    rsync::over_ssh(stage, tool, cipher, Way::Push, &whole, from, &to_rsync);
                Ok(self.measure(round, ends, ssh.pid(), command)?.sample)
            }),
            Contender::maybe(RSYNC_DAEMON, daemon, move |round, (ends, daemon)| {
                let command = daemon.copy(self.stage, Way::Push, &whole, self.from, &to_daemon);
                Ok(self.measure(round, ends, daemon.pid(), command)?.sample)
            }),
        ]
    }

    fn lariat(&self, ends: &Ends, streams: &str) -> Command {
        let mut lariat = ends.fleet.lariat();
        self.stage.guard.join(&mut lariat);
        let to = self.directory.join("copy");
        let mut command = lariat::copy_by(lariat, Way::Push, self.from, &to);
        command.args(["--streams", streams]);
        command
    }

    /// Lets lariat choose, and notes which share of the link it filled after the first second.
    fn auto(&self, round: u32, ends: &Ends) -> Result<Sample, String> {
        let (measured, late) =
            self.watch(round, ends, ends.agent.pid(), self.lariat(ends, "auto"))?;
        let sample = lariat::sample(measured)?;
        let most = as_f64(RATE) / 8.0 * (sample.wall - SECOND.as_secs_f64());
        self.shares.borrow_mut().push(as_f64(late) / most);
        Ok(sample)
    }

    /// Ends one of four connections, at random, each second.
    fn cut(&self, round: u32, ends: &Ends, ss: &Path) -> Result<Sample, String> {
        let (stop, stopped) = mpsc::channel::<()>();
        scope(|scope| {
            let cutting = move || {
                let mut rng = Rng::from_seed(round.into());
                while stopped.recv_timeout(SECOND) == Err(RecvTimeoutError::Timeout) {
                    cut_one(ss, &mut rng);
                }
            };
            scope.spawn(|| ends.network.near.enter(cutting));
            let command = self.lariat(ends, "4");
            let measured = self.measure(round, ends, ends.agent.pid(), command);
            drop(stop);
            lariat::sample(measured?)
        })
    }

    fn measure(
        &self,
        round: u32,
        ends: &Ends,
        server: Pid,
        command: Command,
    ) -> Result<Measured, String> {
        self.watch(round, ends, server, command).map(|(measured, _)| measured)
    }

    /// Runs a client at the near end, compares the first copy with its source, and removes each copy. Returns too how
    /// many bytes have arrived after the first second.
    fn watch(
        &self,
        round: u32,
        ends: &Ends,
        server: Pid,
        mut command: Command,
    ) -> Result<(Measured, u64), String> {
        self.stage.warm(self.stage.options.size / 8)?;
        let meter = Meter { server: vec![server], ..self.stage.local_meter() };
        let Ends { network, .. } = ends;
        let (measured, early) = scope(|scope| {
            let early = scope.spawn(|| {
                park_timeout(SECOND);
                network.bytes_out()
            });
            let measured = network.near.enter(|| meter.run(&mut command));
            (measured, early.join().expect("reading does not panic"))
        });
        let late = network.bytes_out().saturating_sub(early);
        if round == 0 {
            same(self.from, &self.directory.join("copy"))?;
        }
        empty(&self.directory)?;
        Ok((measured?, late))
    }
}

/// Ends one TCP connection of this namespace, if there is any.
fn cut_one(ss: &Path, rng: &mut Rng) {
    let mut list = Command::new(ss);
    list.args(["-tnH", "state", "established", "dst"]).arg(FAR.to_string());
    let Ok(list) = list.output() else { return };
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    // Received, sent, own address, peer's address.
    let own = list.lines().filter_map(|line| line.split_whitespace().nth(2)?.rsplit_once(':'));
    let ports: Vec<&str> = own.map(|(_, port)| port).collect();
    let count = ports.len() as u64;
    if count == 0 {
        return;
    }
    let chosen = usize::try_from(rng.below(count)).unwrap_or_default();
    let mut kill = Command::new(ss);
    kill.args(["-K", "sport", "=", &format!(":{}", ports[chosen])]);
    // The connection may have ended meanwhile.
    let _ = kill.output();
}
