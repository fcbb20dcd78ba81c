//! The cases: one file each, and this list.

mod cold;
mod copy;
mod delta;
mod distant;
mod fleet;
mod fleet_push;
mod input;
mod lines;
mod output;
mod resume;
mod sparse;
mod tree;

use crate::stage::Stage;
use crate::table::Table;

/// A case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// A description in one line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Stage) -> Table,
}

/// All cases, in the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    Case { name: "push", about: "one file to a server", run: copy::push },
    Case { name: "pull", about: "one file from a server", run: copy::pull },
    Case { name: "delta", about: "a file of which the server has an older one", run: delta::run },
    Case { name: "resume", about: "a push killed at half, run again", run: resume::run },
    Case { name: "sparse", about: "a huge file of holes", run: sparse::run },
    Case { name: "distant", about: "one file over a network of 100 ms", run: distant::run },
    Case { name: "tree", about: "a new directory of 10,000 small files", run: tree::fresh },
    Case { name: "tree-same", about: "the same directory, unchanged", run: tree::same },
    Case { name: "tree-changed", about: "the same directory, 1% changed", run: tree::changed },
    Case {
        name: "tree-distant",
        about: "a directory over a network of 100 ms",
        run: tree::distant,
    },
    Case { name: "tree-many", about: "memory for 200,000 files", run: tree::many },
    Case { name: "run", about: "a command that does nothing", run: cold::run },
    Case { name: "lines", about: "many small commands", run: lines::run },
    Case { name: "output", about: "a command that prints much", run: output::run },
    Case { name: "input", about: "a command that reads much", run: input::run },
    Case { name: "fleet", about: "a command that does nothing on many hosts", run: fleet::run },
    Case { name: "fleet-push", about: "one file to many hosts", run: fleet_push::run },
];

/// The cases with these names; all if there are no names.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Case>, String> {
    let known = |name: &String| ALL.iter().find(|case| case.name == name);
    if let Some(unknown) = names.iter().find(|name| known(name).is_none()) {
        let all: Vec<&str> = ALL.iter().map(|case| case.name).collect();
        return Err(format!("there is no case {unknown}, only {}", all.join(", ")));
    }
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(ALL.iter().filter(wanted).collect())
}

/// A size in words.
fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 30) {
        format!("{} GiB", bytes >> 30)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}
