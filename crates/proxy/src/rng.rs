//! A small random number generator, one a worker: for balancing draws, jitter and request ids, nothing secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// wyrand: 64 bits a step, a few instructions.
#[derive(Debug)]
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    /// Seeded from the process's hash keys, so that workers and processes differ.
    pub(crate) fn new() -> Self {
        Self(Cell::new(RandomState::new().hash_one(std::thread::current().id())))
    }

    pub(crate) fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.0.set(state);
        let wide = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }

    pub(crate) fn next_u32(&self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Uniform below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_their_bound_and_differ() {
        let rng = Rng::new();
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[rng.below(7)] += 1;
        }
        assert!(seen.iter().all(|n| (700..1300).contains(n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert!((0.0..1.0).contains(&rng.unit()));
    }
}
