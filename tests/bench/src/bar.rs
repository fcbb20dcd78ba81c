//! The bars: limits that the figures must keep.

use crate::stats::Spread;

/// One bar.
pub(crate) struct Bar {
    /// What must hold.
    pub(crate) words: String,
    want: Want,
    got: Option<Spread>,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Want {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    /// The median must be at least `limit`.
    pub(crate) fn at_least(
        words: impl Into<String>,
        limit: f64,
        unit: &'static str,
        got: Option<Spread>,
    ) -> Self {
        Self { words: words.into(), want: Want::AtLeast(limit), got, unit }
    }

    /// The median must be at most `limit`.
    pub(crate) fn at_most(
        words: impl Into<String>,
        limit: f64,
        unit: &'static str,
        got: Option<Spread>,
    ) -> Self {
        Self { words: words.into(), want: Want::AtMost(limit), got, unit }
    }

    /// Whether the bar holds; `None` if nothing was measured.
    pub(crate) fn holds(&self) -> Option<bool> {
        let median = self.got?.median;
        Some(match self.want {
            Want::AtLeast(limit) => median >= limit,
            Want::AtMost(limit) => median <= limit,
        })
    }

    /// The cells of its row: what must hold, the limit, the figure, the verdict.
    pub(crate) fn cells(&self) -> [String; 4] {
        let unit = self.unit;
        let want = match self.want {
            Want::AtLeast(limit) => format!("≥ {limit}{unit}"),
            Want::AtMost(limit) => format!("≤ {limit}{unit}"),
        };
        let got = self.got.map_or_else(
            || "not measured".to_owned(),
            |Spread { median, min, max }| format!("{median:.2}{unit} ({min:.2}–{max:.2})"),
        );
        let verdict = match self.holds() {
            Some(true) => "holds",
            Some(false) => "DOES NOT HOLD",
            None => "?",
        };
        [self.words.clone(), want, got, verdict.to_owned()]
    }
}
