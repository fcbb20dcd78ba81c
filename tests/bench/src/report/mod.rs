//! Reports the figures: on the terminal, as a page, as a plot.

mod grid;
mod markdown;
mod svg;
mod text;

use std::io;
use std::path::Path;

use crate::machine::Machine;
use crate::options::Options;
use crate::stats::Spread;
use crate::table::Table;

pub(crate) use text::text;

/// Writes the page, and the plot beside it under the same name.
pub(crate) fn write(
    out: &Path,
    machine: &Machine,
    tables: &[Table],
    options: &Options,
) -> io::Result<()> {
    let plot = out.with_extension("svg");
    let name = plot.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::write(out, markdown::page(machine, tables, options, &name))?;
    std::fs::write(plot, svg::plot(tables))
}

/// How much of the machine other processes used during the measurements.
pub(crate) fn noise(tables: &[Table]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = crate::stats::as_f64(cores as u64);
    let samples = tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.samples);
    let shares = samples.map(|sample| 100.0 * sample.others / (sample.window * cores));
    let Some(Spread { median, max, .. }) = Spread::of(shares) else { return String::new() };
    let verdict = if median < 3.0 { "quiet" } else { "not quiet: look at ratios, not figures" };
    format!(
        "Others used {median:.0}% of the processors in the median round, {max:.0}% in the worst: \
         the machine was {verdict}."
    )
}
