//! A histogram with Envoy's buckets, which Istio's metrics have.

/// Upper bounds, in the unit of the metric. Envoy's first one is 0.5, which whole numbers cannot tell from 0.
pub(crate) const BOUNDS: [u64; 19] = [
    0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
    3_600_000,
];

/// The bounds as Prometheus' `le` has them.
pub(crate) const BOUND_TEXTS: [&str; 19] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000",
    "300000", "600000", "1800000", "3600000",
];

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Histogram {
    /// Not added up; the last is what is over all bounds.
    buckets: [u64; 20],
    sum: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        self.buckets[BOUNDS.partition_point(|bound| *bound < value)] += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += other;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many are at most each bound, in their order.
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        BOUND_TEXTS.iter().zip(&self.buckets).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_buckets() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 5, 6, 4_000_000] {
            histogram.record(value);
        }
        let cumulated: Vec<_> = histogram.cumulated().collect();
        assert_eq!(cumulated[..4], [("0.5", 1), ("1", 2), ("5", 3), ("10", 4)]);
        assert_eq!(cumulated[18], ("3600000", 4));
        assert_eq!((histogram.count(), histogram.sum()), (5, 4_000_012));
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(twice.count(), 10);
    }
}
