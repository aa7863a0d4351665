//! Round robin by weight: earliest deadline first, as Envoy does it; a plain cursor where all weigh the same.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(super) enum RoundRobin {
    Even { next: usize, count: usize },
    Weighted(BinaryHeap<Turn>),
}

#[derive(Debug)]
pub(super) struct Turn {
    deadline: f64,
    /// Among equal deadlines, the one that was put in first.
    order: u64,
    index: usize,
    weight: u32,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    /// The heap gives the greatest: the earliest deadline.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl RoundRobin {
    /// `start` moves the first turn, so that not every worker begins with the same host.
    pub(super) fn new(weights: &[u32], start: usize) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::Even { next: start, count: weights.len() };
        }
        let mut schedule = Self::Weighted(
            weights
                .iter()
                .enumerate()
                .map(|(index, weight)| {
                    let weight = (*weight).max(1);
                    Turn { deadline: 1.0 / f64::from(weight), order: index as u64, index, weight }
                })
                .collect(),
        );
        for _ in 0..start % weights.len().max(1) {
            schedule.next(|_| 1.0);
        }
        schedule
    }

    /// The index whose turn it is; None where there is nothing. Where weights differ, the next turn of that index
    /// comes by `scale` of its weight.
    pub(super) fn next(&mut self, scale: impl Fn(usize) -> f64) -> Option<usize> {
        match self {
            Self::Even { count: 0, .. } => None,
            Self::Even { next, count } => {
                let index = *next % *count;
                *next = index + 1;
                Some(index)
            }
            Self::Weighted(heap) => {
                let mut turn = heap.peek_mut()?;
                let index = turn.index;
                turn.deadline += 1.0 / (f64::from(turn.weight) * scale(index));
                turn.order += u64::from(u32::MAX);
                Some(index)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_by_weight() {
        for start in [0, 1, 2] {
            let mut schedule = RoundRobin::new(&[1, 3, 2], start);
            let mut seen = [0; 3];
            for _ in 0..600 {
                seen[schedule.next(|_| 1.0).unwrap()] += 1;
            }
            assert_eq!(seen, [100, 300, 200]);
        }
        let mut even = RoundRobin::new(&[5, 5], 1);
        let mut next = || even.next(|_| 1.0);
        assert_eq!([next(), next(), next()], [Some(1), Some(0), Some(1)]);
        assert_eq!(RoundRobin::new(&[], 3).next(|_| 1.0), None);
    }
}
