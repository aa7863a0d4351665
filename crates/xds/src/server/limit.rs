//! How much a client may make its stream remember: whoever reaches the port may open one.

use super::Stream;
use super::state::Held;
use crate::ResourceType;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and versions of a stream, in bytes: several hundred thousand of the usual ones.
const MOST: usize = 64 << 20;

/// After so many bytes more they are counted: not with each request, for there is one for each resource that warms.
const COUNT_AFTER: usize = 16 << 20;

/// What it costs to keep a name, beside the name.
const EACH: usize = 64;

impl Stream {
    /// The client has asked for more names than are remembered for one: its stream is to end.
    pub fn asks_too_much(&self) -> bool {
        self.asks_too_much
    }

    /// A request has these names.
    pub(super) fn note_names(&mut self, names: &[Arc<str>], initial: &BTreeMap<Arc<str>, Arc<str>>) {
        let named: usize = names.iter().map(|name| name.len() + EACH).sum();
        let told: usize = initial.iter().map(|(name, version)| name.len() + version.len() + EACH).sum();
        self.noted += named + told;
        if self.noted > COUNT_AFTER {
            self.noted = 0;
            self.asks_too_much |= self.remembered() > MOST;
        }
    }

    fn remembered(&self) -> usize {
        let of_type = |kind| {
            let state = &self.types[kind];
            let names = state.names.iter().chain(&state.routes).map(|name| name.len() + EACH);
            let behind = state.behind.iter().map(|(name, held)| match held {
                Held::Version(version) => name.len() + version.len() + EACH,
                Held::Nothing | Held::Known(_) => EACH,
            });
            names.chain(behind).sum::<usize>()
        };
        ResourceType::ALL.into_iter().map(of_type).sum()
    }
}
