//! A case's figures.

use crate::bar::Bar;
use crate::measure::Sample;
use crate::stats::{Spread, as_f64, mean};

/// Runs shorter than this many seconds are short.
pub(crate) const SHORT: f64 = 0.5;

/// The results of a case.
pub(crate) struct Table {
    /// The case's name.
    pub(crate) case: &'static str,
    /// What was measured.
    pub(crate) title: String,
    /// Bytes that each run moved, if a rate is of interest.
    pub(crate) bytes: Option<u64>,
    /// The contenders, lariat first.
    pub(crate) rows: Vec<Row>,
    /// The case's bars.
    pub(crate) bars: Vec<Bar>,
}

/// One contender.
pub(crate) struct Row {
    pub(crate) name: String,
    /// One for each round, unless a run failed.
    pub(crate) samples: Vec<Sample>,
    /// Why it did not take part, or not to the end.
    pub(crate) why_not: Option<String>,
}

impl Row {
    pub(crate) fn walls(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.wall).collect()
    }

    pub(crate) fn wall(&self) -> Option<Spread> {
        Spread::of(self.walls())
    }

    /// CPU seconds of client and server: the medians, or the means for runs so short that the kernel's ticks
    /// are too coarse for one of them.
    pub(crate) fn cpu(&self) -> Option<[f64; 2]> {
        let short = self.wall()?.median < SHORT;
        let typical = |cpu: fn(&Sample) -> f64| {
            let cpu = self.samples.iter().map(cpu);
            if short { mean(cpu) } else { Spread::of(cpu).map(|cpu| cpu.median) }
        };
        Some([typical(|sample| sample.client.cpu)?, typical(|sample| sample.server.cpu)?])
    }

    /// The highest memory of client and server in bytes.
    pub(crate) fn memory(&self) -> Option<[u64; 2]> {
        let client = self.samples.iter().filter_map(|sample| sample.client.memory).max()?;
        let server = self.samples.iter().filter_map(|sample| sample.server.memory).max()?;
        Some([client, server])
    }

    /// Bytes sent.
    pub(crate) fn sent(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| sample.sent).map(as_f64))
    }

    /// Seconds until the first new byte.
    pub(crate) fn first(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| sample.first))
    }
}

impl Table {
    /// A contender's row, if it has one.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The time of `over` relative to `under`, in the same rounds.
    pub(crate) fn ratio(&self, over: &str, under: &str) -> Option<Spread> {
        Spread::of_ratios(&self.row(over)?.walls(), &self.row(under)?.walls())
    }

    /// The time of this contender relative to the first one, in the same rounds.
    pub(crate) fn to_first(&self, row: &Row) -> Option<Spread> {
        Spread::of_ratios(&row.walls(), &self.rows.first()?.walls())
    }

    /// CPU seconds of both ends per GiB that a contender moved.
    pub(crate) fn cpu_per_gib(&self, row: &Row) -> Option<Spread> {
        let gib = as_f64(self.bytes?) / as_f64(1 << 30);
        let cpu = |sample: &Sample| (sample.client.cpu + sample.server.cpu) / gib;
        Spread::of(row.samples.iter().map(cpu))
    }
}
