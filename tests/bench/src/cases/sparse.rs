//! A huge file that is nearly all holes: memory per chunk must stay small, and holes must stay holes. lariat
//! alone, because other tools would read for minutes.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::size;
use crate::bar::Bar;
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, empty};
use crate::stats::{Spread, as_f64};
use crate::table::{Row, Table};
use crate::tools::{Way, lariat};

/// Its size, as a multiple of the largest ordinary file: 100 GiB for 2 GiB.
const TIMES: u64 = 50;

/// Number and size of the data areas, in bytes.
const ISLANDS: u64 = 16;
const ISLAND: usize = 1 << 20;

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size * TIMES;
    let source = stage.temporary("sparse");
    make(&source, bytes).expect("the directory for files has room");
    let directory = stage.directory("sparse-copy");
    let copy = directory.join("copy");
    let contenders = vec![Contender::new(lariat::NAME, |_| {
        let mut command = lariat::copy(stage, Way::Push, &source, &copy);
        let measured = stage.agent_meter().run(&mut command)?;
        same(&source, &copy, bytes).map_err(|e| format!("compare the copy: {e}"))?;
        empty(&directory)?;
        lariat::sample(measured)
    })];
    let rows = interleave("sparse", 1, contenders, &stage.options);
    let title = format!("Push of a sparse file, {}", size(bytes));
    let mut table = Table { case: "sparse", title, bytes: None, rows, bars: Vec::new() };
    let ends = table.row(lariat::NAME).and_then(Row::memory);
    let memory = ends
        .and_then(|[client, server]| Spread::of([as_f64(client.max(server)) / as_f64(1 << 20)]));
    table.bars = vec![Bar::at_most("sparse: MiB of memory, either end", 64.0, "", memory)];
    table
}

fn make(path: &Path, bytes: u64) -> std::io::Result<()> {
    let file = File::create(path)?;
    file.set_len(bytes)?;
    let island = vec![0xA5; ISLAND];
    (0..ISLANDS).try_for_each(|number| file.write_all_at(&island, offset(number, bytes)))
}

fn offset(number: u64, bytes: u64) -> u64 {
    bytes / ISLANDS * number
}

/// Compares sizes, data areas and allocated blocks.
fn same(source: &Path, copy: &Path, bytes: u64) -> std::io::Result<()> {
    let (source, copy) = (File::open(source)?, File::open(copy)?);
    let (is, must) = (copy.metadata()?, source.metadata()?);
    // A hole may be filled where it shares a block with data.
    if is.len() != must.len() || is.blocks() > 2 * must.blocks() {
        return Err(std::io::Error::other("its size differs, or its holes are filled"));
    }
    let mut buffers = [vec![0; ISLAND], vec![0; ISLAND]];
    for number in 0..ISLANDS {
        for (file, buffer) in [&source, &copy].iter().zip(&mut buffers) {
            file.read_exact_at(buffer, offset(number, bytes))?;
        }
        if buffers[0] != buffers[1] {
            return Err(std::io::Error::other("its content differs"));
        }
    }
    Ok(())
}
