//! What one worker counts of requests and connections for Istio's metrics, by small numbers: no lock, and no
//! allocation but for what was never seen before. `gather` reads it.

use super::histogram::Histogram;
use super::labels::{MOST, Number, Numbered, Service, Workload};
use crate::flags::Flags;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// So many peers are told apart by what they say of themselves: it is theirs to make up.
const STRANGERS: usize = 512;

/// One worker's counters.
#[derive(Default)]
pub(crate) struct Counters {
    tables: RefCell<Tables>,
}

#[derive(Default)]
pub(super) struct Tables {
    peers: Numbered<Workload>,
    /// How many of them are known by their own words alone.
    strangers: usize,
    services: Numbered<Service>,
    http: Series<HttpCounts>,
    tcp: Series<TcpCounts>,
    /// TCP connections that are open; what they have moved is counted when metrics are read.
    flows: Vec<Weak<Flow>>,
}

/// What a request or connection is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// The workload at the other end.
    pub(crate) peer: u32,
    pub(crate) service: u32,
    pub(crate) flags: Flags,
    pub(crate) status: u16,
    /// 255: none.
    pub(crate) grpc_status: u8,
    pub(crate) kind: Kind,
}

/// Who reports, and what the request spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kind {
    /// By the proxy of the destination; else by that of the source.
    pub(crate) destination: bool,
    pub(crate) grpc: bool,
}

/// No gRPC status.
pub(crate) const NO_STATUS: u8 = 255;

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let kind = u64::from(self.kind.destination) | u64::from(self.kind.grpc) << 1;
        state.write_u64(u64::from(self.peer) << 32 | u64::from(self.service));
        state.write_u64(
            u64::from(self.flags.bits()) << 26 | u64::from(self.status) << 10 | u64::from(self.grpc_status) << 2 | kind,
        );
    }
}

/// Mixes the two words of a key. Keys are numbers of our own making: nobody can choose them to collide.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }
}

/// Counts by key, with a bound: a worker remembers so many, and what else comes is counted without its ends.
pub(super) struct Series<T> {
    by_key: HashMap<Key, Counted<T>, BuildHasherDefault<Mix>>,
    /// What did not find a place even so.
    lost: u64,
}

struct Counted<T> {
    counts: T,
    /// Since metrics were last read.
    touched: bool,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self { by_key: HashMap::default(), lost: 0 }
    }
}

impl<T: Default> Series<T> {
    fn count(&mut self, key: Key, count: impl FnOnce(&mut T)) {
        if let Some(counted) = self.by_key.get_mut(&key) {
            counted.touched = true;
            return count(&mut counted.counts);
        }
        let key = if self.by_key.len() < MOST { key } else { Key { peer: 0, service: 0, ..key } };
        if self.by_key.len() >= 2 * MOST && !self.by_key.contains_key(&key) {
            self.lost += 1;
            return;
        }
        let counted = self.by_key.entry(key).or_insert_with(|| Counted { counts: T::default(), touched: true });
        counted.touched = true;
        count(&mut counted.counts);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.by_key.iter().map(|(key, counted)| (key, &counted.counts))
    }

    /// After they were read: where there are too many, those that nothing was counted under go, and begin at 0 where
    /// they come again.
    fn tidy(&mut self) {
        if self.by_key.len() >= MOST {
            self.by_key.retain(|_, counted| counted.touched);
        }
        if self.by_key.len() >= MOST {
            self.by_key.clear();
        }
        for counted in self.by_key.values_mut() {
            counted.touched = false;
        }
    }
}

/// Of one key of HTTP.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpCounts {
    pub(crate) requests: u64,
    pub(crate) milliseconds: Histogram,
    pub(crate) request_bytes: Histogram,
    pub(crate) response_bytes: Histogram,
    pub(crate) request_messages: u64,
    pub(crate) response_messages: u64,
}

/// Of one key of TCP.
#[derive(Debug, Clone, Default)]
pub(crate) struct TcpCounts {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A request that has ended.
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) milliseconds: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) request_messages: u64,
    pub(crate) response_messages: u64,
}

/// An open TCP connection.
pub(crate) struct Flow {
    pub(crate) key: Key,
    pub(crate) copied: crate::tcp::copy::Copied,
    counted: Cell<(u64, u64)>,
    /// The numbers in `key` are of this age.
    age: u32,
}

impl Flow {
    /// What was moved since it was last asked.
    fn moved(&self) -> (u64, u64) {
        let now = (self.copied.up.get(), self.copied.down.get());
        let before = self.counted.replace(now);
        (now.0 - before.0, now.1 - before.1)
    }
}

impl Counters {
    pub(crate) fn peer(&self, at: &Cell<Number>, who: impl FnOnce() -> Workload) -> u32 {
        self.tables.borrow_mut().peers.of(at, who)
    }

    /// A peer by its own words: those beyond the first [`STRANGERS`] are not known.
    pub(crate) fn stranger(&self, at: &Cell<Number>, who: impl FnOnce() -> Workload) -> u32 {
        let tables = &mut *self.tables.borrow_mut();
        if tables.strangers >= STRANGERS {
            return tables.peers.known(at, who);
        }
        let before = tables.peers.len();
        let number = tables.peers.of(at, who);
        tables.strangers += tables.peers.len() - before;
        number
    }

    pub(crate) fn service(&self, at: &Cell<Number>, which: impl FnOnce() -> Service) -> u32 {
        self.tables.borrow_mut().services.of(at, which)
    }

    pub(crate) fn request(&self, request: &Request) {
        self.tables.borrow_mut().http.count(request.key, |counts| {
            counts.requests += 1;
            counts.milliseconds.record(request.milliseconds);
            counts.request_bytes.record(request.request_bytes);
            counts.response_bytes.record(request.response_bytes);
            counts.request_messages += request.request_messages;
            counts.response_messages += request.response_messages;
        });
    }

    /// A TCP connection has begun; without `counted`, nothing but its bytes is kept.
    pub(crate) fn open(&self, key: Key, counted: bool) -> Rc<Flow> {
        let mut tables = self.tables.borrow_mut();
        let age = tables.peers.age();
        let flow = Rc::new(Flow { key, copied: Default::default(), counted: Cell::default(), age });
        if !counted {
            return flow;
        }
        tables.tcp.count(key, |counts| counts.opened += 1);
        if tables.flows.len() >= 16 && tables.flows.len().is_power_of_two() {
            tables.flows.retain(|flow| flow.strong_count() > 0);
        }
        tables.flows.push(Rc::downgrade(&flow));
        flow
    }

    /// It has ended, with these flags.
    pub(crate) fn close(&self, flow: &Flow, flags: Flags) {
        let mut tables = self.tables.borrow_mut();
        let (received, sent) = flow.moved();
        let key = tables.key_of(flow);
        tables.tcp.count(Key { flags, ..key }, |counts| {
            counts.closed += 1;
            counts.received += received;
            counts.sent += sent;
        });
    }

    /// Reads all; afterwards what nobody uses may be forgotten.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        let mut tables = self.tables.borrow_mut();
        tables.count_flows();
        let result = read(&tables);
        tables.tidy();
        result
    }
}

impl Tables {
    fn key_of(&self, flow: &Flow) -> Key {
        // Numbers of an age that is over name others now.
        if flow.age == self.peers.age() { flow.key } else { Key { peer: 0, service: 0, ..flow.key } }
    }

    fn count_flows(&mut self) {
        self.flows.retain(|flow| flow.strong_count() > 0);
        for flow in self.flows.iter().filter_map(Weak::upgrade).collect::<Vec<_>>() {
            let (received, sent) = flow.moved();
            let key = self.key_of(&flow);
            self.tcp.count(key, |counts| {
                counts.received += received;
                counts.sent += sent;
            });
        }
    }

    pub(super) fn http(&self) -> &Series<HttpCounts> {
        &self.http
    }

    pub(super) fn tcp(&self) -> &Series<TcpCounts> {
        &self.tcp
    }

    pub(super) fn ends_of(&self, key: &Key) -> (Arc<Workload>, Arc<Service>) {
        (self.peers.get(key.peer), self.services.get(key.service))
    }

    fn tidy(&mut self) {
        self.http.tidy();
        self.tcp.tidy();
        if self.peers.is_full() || self.services.is_full() {
            self.peers.begin_anew();
            self.strangers = 0;
            self.services.begin_anew();
            self.http = Series::default();
            self.tcp = Series::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_strangers_so_many_are_told_apart() {
        let counters = Counters::default();
        let named = |i: usize| Workload { workload: format!("w{i}"), ..Workload::default() };
        let numbers: Vec<u32> = (0..2 * STRANGERS).map(|i| counters.stranger(&Cell::default(), || named(i))).collect();
        assert!(numbers[..STRANGERS - 1].iter().all(|number| *number != 0));
        assert!(numbers[STRANGERS..].iter().all(|number| *number == 0));
        assert_eq!(counters.stranger(&Cell::default(), || named(1)), numbers[1], "who is known stays so");
        assert_ne!(counters.peer(&Cell::default(), || named(9999)), 0, "who is known by the configuration has a place");
    }
}
