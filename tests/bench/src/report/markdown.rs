//! The Markdown page: what was measured, how, on what machine, and the figures.

use super::grid::{bars, grid};
use super::noise;
use crate::machine::Machine;
use crate::options::Options;
use crate::table::Table;

/// The whole page, which shows the plot of this name.
pub(crate) fn page(machine: &Machine, tables: &[Table], options: &Options, plot: &str) -> String {
    let mut page = format!(
        "# Benchmarks\n\n\
         lariat beside the tools that it replaces, on one machine, both ends over loopback, files on \
         a tmpfs. Written by\n\n\
         ```text\ncargo run --release -p lariat-bench -- --out docs/benchmarks.md\n```\n\n\
         which anyone can run; it needs no more than what it compares with, and says what is \
         missing. Contenders take turns, {rounds} rounds of each ({pairs} of those that take \
         milliseconds). A time is the median of wall-clock times of the client's whole process, with \
         the fastest and the slowest; ratios compare runs of the same round, so look at them rather \
         than at the times, which move with the machine. CPU time is of both ends with all their \
         processes; memory is the sum of the peaks of each end's processes (two that share pages \
         count twice), the highest of any round.\n\n\
         ![times as bars]({plot})\n\n## The machine\n\n",
        rounds = options.rounds,
        pairs = options.pairs,
    );
    let heading = std::iter::once(vec![String::new(), String::new()]);
    let lines = machine.0.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
    page += &markdown(heading.chain(lines));
    page += &["\n", &noise(tables), "\n"].concat();
    for table in tables {
        page += &["\n## ", &table.title, "\n\n", &markdown(grid(table))].concat();
    }
    page += &["\n## What must hold\n\nMedians decide.\n\n", &markdown(bars(tables))].concat();
    page
}

fn markdown(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        let cells: Vec<String> =
            row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        lines.push(format!("| {} |\n", cells.join(" | ")));
        if number == 0 {
            lines.push(format!("|{}\n", "---|".repeat(row.len())));
        }
    }
    lines.concat()
}
