//! A file of which the server has an older version: 1% of its bytes edited, all over it, and one byte
//! inserted at the front, so that everything is shifted.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::size;
use crate::bar::Bar;
use crate::measure::{Measured, Meter};
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, Temporary, empty, same};
use crate::table::{Row, Table};
use crate::tools::ssh::Cipher;
use crate::tools::{Way, lariat, rsync};

const RSYNC: &str = "rsync over ssh, aes128-gcm";
const RSYNC_DAEMON: &str = "rsync daemon, plaintext";

/// Length of an edit in bytes.
const EDIT: usize = 4096;
/// One edit in this many bytes, which makes 1%: 2,621 in 1 GiB.
const GROUP: usize = 100 * EDIT;

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size / 2;
    let old = stage.source("old", bytes);
    let new = stage.temporary("new");
    let edits = edit(&old, &new).expect("the directory for files has room");
    let title = format!(
        "Update of a file, {}: {edits} edits of {EDIT} bytes, one byte inserted in front",
        size(bytes)
    );
    let run = Run { stage, old, new, directory: stage.directory("delta") };
    let rows = interleave("delta", stage.options.rounds, run.contenders(), &stage.options);
    let mut table = Table { case: "delta", title, bytes: None, rows, bars: Vec::new() };
    let sent = table.row(lariat::NAME).and_then(Row::sent);
    // The bar is for 1 GiB; what is sent grows with the size.
    let limit = (60.0 * crate::stats::as_f64(bytes) / f64::from(1 << 30)).ceil();
    let ratio = table.ratio(RSYNC, lariat::NAME);
    table.bars = vec![
        Bar::at_most("delta: MB sent", limit, "", sent.map(|sent| sent.times(1e-6))),
        Bar::at_least("delta: times as fast as rsync over ssh", 2.0, "", ratio),
    ];
    table
}

struct Run<'a> {
    stage: &'a Stage,
    old: Temporary,
    new: Temporary,
    directory: PathBuf,
}

impl Run<'_> {
    fn contenders(&self) -> Vec<Contender<'_>> {
        let Self { stage, new: from, .. } = self;
        let to = &self.directory;
        let rsync = stage.tools.get("rsync");
        let ssh = stage.ssh.as_ref().map_err(Clone::clone);
        let daemon = stage.rsync_daemon.as_ref().map_err(Clone::clone);
        let options = ["--no-whole-file", "--stats"];
        vec![
            Contender::new(lariat::NAME, |round| {
                let command = lariat::copy(stage, Way::Push, from, &to.join("copy"));
                lariat::sample(self.measure(round, &stage.agent_meter(), command)?)
            }),
            Contender::maybe(RSYNC, ssh.and_then(|ssh| Ok((ssh, rsync?))), move |round, tool| {
                let tool = (tool.0, tool.1.as_path());
                let meter = Meter { server: vec![tool.0.pid()], ..stage.local_meter() };
                let (cipher, to) = (Cipher::Aes128Gcm, to.join("copy"));
                let command = rsync::over_ssh(stage, tool, cipher, Way::Push, &options, from, &to);
                rsync::sample_with_sent(self.measure(round, &meter, command)?)
            }),
            Contender::maybe(RSYNC_DAEMON, daemon, move |round, daemon| {
                let meter = Meter { server: vec![daemon.pid()], ..stage.local_meter() };
                let command = daemon.copy(stage, Way::Push, &options, from, &to.join("copy"));
                rsync::sample_with_sent(self.measure(round, &meter, command)?)
            }),
        ]
    }

    /// Puts the old file at the destination, and updates it.
    fn measure(&self, round: u32, meter: &Meter, mut command: Command) -> Result<Measured, String> {
        let copy = self.directory.join("copy");
        std::fs::copy(&*self.old, &copy).map_err(|e| format!("copy the old file: {e}"))?;
        self.stage.warm(self.stage.options.size / 2)?;
        let measured = meter.run(&mut command)?;
        if round == 0 {
            same(&self.new, &copy)?;
        }
        empty(&self.directory)?;
        Ok(measured)
    }
}

/// Writes the new file, and returns the number of edits.
fn edit(old: &Path, new: &Path) -> std::io::Result<u64> {
    let (from, mut to) = (File::open(old)?, File::create(new)?);
    to.write_all(b"!")?;
    let mut group = Vec::with_capacity(GROUP);
    for edits in 0.. {
        group.clear();
        (&from).take(GROUP as u64).read_to_end(&mut group)?;
        if group.len() < GROUP {
            // The last group is short, and not edited.
            to.write_all(&group)?;
            return Ok(edits);
        }
        let begin = place(edits);
        group[begin..begin + EDIT].iter_mut().for_each(|byte| *byte = !*byte);
        to.write_all(&group)?;
    }
    unreachable!("every file has an end")
}

/// Where in a group its edit is: at no boundary, and at another place in each group.
fn place(group: u64) -> usize {
    let scattered = (group + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    usize::try_from(scattered).unwrap_or_default() % (GROUP - EDIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_all_over_the_file() {
        assert_eq!((1 << 30) / GROUP, 2621);
        let places: std::collections::HashSet<usize> = (0..2621).map(place).collect();
        assert!(places.len() > 2600);
        assert!(places.iter().filter(|&&place| place < GROUP / 2).count() > 1000);
    }
}
