//! Runs contenders in turn, round after round.

use crate::measure::Sample;
use crate::options::Options;
use crate::table::Row;

/// What takes part in a case.
pub(crate) struct Contender<'a> {
    name: String,
    /// Runs it once, or the reason why it can't take part. The number is the round's; in round 0 the result
    /// is verified, outside the clock.
    run: Result<Run<'a>, String>,
}

type Run<'a> = Box<dyn FnMut(u32) -> Result<Sample, String> + 'a>;

impl<'a> Contender<'a> {
    /// A contender that is available.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnMut(u32) -> Result<Sample, String> + 'a,
    ) -> Self {
        Self { name: name.into(), run: Ok(Box::new(run)) }
    }

    /// A contender whose tool may be missing.
    pub(crate) fn maybe<T>(
        name: impl Into<String>,
        tool: Result<T, String>,
        run: impl FnMut(u32, &T) -> Result<Sample, String> + 'a,
    ) -> Self
    where
        T: 'a,
    {
        let mut run = run;
        let run = tool.map(|tool| {
            let run: Run<'a> = Box::new(move |round| run(round, &tool));
            run
        });
        Self { name: name.into(), run }
    }
}

/// Runs them `count` times each: A B C, C B A, and so on, so that none always follows the same one.
pub(crate) fn interleave(
    case: &str,
    count: u32,
    contenders: Vec<Contender<'_>>,
    options: &Options,
) -> Vec<Row> {
    let wanted = |index: usize, name: &str| {
        index == 0 || options.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    };
    let mut all: Vec<(Row, Option<Run<'_>>)> = contenders
        .into_iter()
        .enumerate()
        .filter(|(index, contender)| wanted(*index, &contender.name))
        .map(|(_, Contender { name, run })| {
            let why_not = run.as_ref().err().map(|why| format!("missing: {why}"));
            (Row { name, samples: Vec::new(), why_not }, run.ok())
        })
        .collect();
    for round in 0..count {
        let mut order: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (row, run) = &mut all[index];
            let Some(turn) = run else { continue };
            match turn(round) {
                Ok(sample) => {
                    progress(case, round, count, row, sample.wall);
                    row.samples.push(sample);
                }
                Err(error) => {
                    eprintln!("{case}: {}: {error}", row.name);
                    row.why_not = Some(format!("failed in round {}: {error}", round + 1));
                    *run = None;
                }
            }
        }
    }
    all.into_iter().map(|(row, _)| row).collect()
}

/// Reports progress about ten times per contender.
fn progress(case: &str, round: u32, count: u32, row: &Row, wall: f64) {
    let every = (count / 10).max(1);
    if round.is_multiple_of(every) {
        eprintln!("{case} {}/{count}: {} {wall:.3} s", round + 1, row.name);
    }
}
