//! The cases: one file each, and this list.

mod calls;
mod cold;
mod copy;
mod delta;
mod distant;
mod fleet;
mod fleet_push;
mod idle;
mod input;
mod lines;
mod link;
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

/// One file over a link: the case's name, the milliseconds of a round trip, and the packets of a million that are lost.
macro_rules! link {
    ($name:literal, $millis:literal, $loss:literal) => {
        Case {
            name: $name,
            about: "one file over a link: milliseconds of a round trip, percent of loss",
            run: |stage| link::run(stage, $name, $millis, $loss),
        }
    };
}

/// All cases, in the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    Case { name: "push", about: "one file to a server", run: copy::push },
    Case { name: "pull", about: "one file from a server", run: copy::pull },
    Case { name: "calls", about: "the system calls of a push and a pull", run: calls::run },
    Case { name: "delta", about: "a file of which the server has an older one", run: delta::run },
    Case { name: "resume", about: "a push killed at half, run again", run: resume::run },
    Case { name: "sparse", about: "a huge file of holes", run: sparse::run },
    Case { name: "distant", about: "one file over a network of 100 ms", run: distant::run },
    link!("link-0", 0, 0),
    link!("link-0-0.1", 0, 1000),
    link!("link-0-1", 0, 10_000),
    link!("link-20", 20, 0),
    link!("link-20-0.1", 20, 1000),
    link!("link-20-1", 20, 10_000),
    link!("link-100", 100, 0),
    link!("link-100-0.1", 100, 1000),
    link!("link-100-1", 100, 10_000),
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
    Case { name: "idle", about: "a thousand sessions that do nothing", run: idle::run },
    Case { name: "fleet", about: "a command that does nothing on many hosts", run: fleet::run },
    Case { name: "fleet-push", about: "one file to many hosts", run: fleet_push::run },
];

/// The cases with these names, or with what such a name begins with; all if there are no names.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Case>, String> {
    let is_case = |name: &str| ALL.iter().any(|case| case.name == name);
    let is_meant = |case: &Case, name: &str| {
        let rest = case.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('-') && !is_case(name)))
    };
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|case| is_meant(case, name))) {
        let all: Vec<&str> = ALL.iter().map(|case| case.name).collect();
        return Err(format!("there is no case {unknown}, only {}", all.join(", ")));
    }
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| is_meant(case, name));
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
