//! Medians, ranges and ratios.

/// A median and its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of these figures, unless there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Self { median, min, max })
    }

    /// The spread of the ratios of figures that belong together.
    pub(crate) fn of_ratios(over: &[f64], under: &[f64]) -> Option<Self> {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under))
    }

    /// The spread in another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        let Self { median, min, max } = self;
        Self { median: median * factor, min: min * factor, max: max * factor }
    }
}

/// The mean, unless there are no figures.
pub(crate) fn mean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        figures.into_iter().fold((0.0, 0_u64), |(sum, count), figure| (sum + figure, count + 1));
    (count > 0).then(|| sum / as_f64(count))
}

/// A count as a figure. Above 2^53 it is rounded, but no count here is that large.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of_ratios(&[4.0, 9.0], &[2.0, 3.0]), spread(2.5, 2.0, 3.0));
        assert_eq!(mean([1.0, 2.0]), Some(1.5));
    }
}
