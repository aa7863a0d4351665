//! Connections that are opened for one client's connection and nobody else, for they tell who the client is (the PROXY
//! protocol). They go with the client. `cluster` and `http` call it.

use super::dial::Handshake;
use super::pool::{HostPool, Pools};
use super::proxy_header::Ends;
use crate::balance::Host;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Endpoints, and server names of each, that one client's connections are kept for. Names are the clients' to choose.
const MOST: usize = 256;

/// A client's pools.
pub(crate) struct Private {
    ends: Ends,
    /// With those of their clusters; the most recently used last.
    pools: RefCell<Vec<(Rc<Pools>, Rc<HostPool>)>>,
}

impl Private {
    pub(crate) fn new(ends: Ends) -> Self {
        Self { ends, pools: RefCell::default() }
    }

    /// The client's connections to a host of a cluster. Of too many pools the one that was not used for longest is let
    /// go of: what is under way in it ends.
    pub(crate) fn pool(&self, cluster: &Rc<Pools>, host: &Host, tls: Option<Handshake>) -> Rc<HostPool> {
        let mut pools = self.pools.borrow_mut();
        let serves = |(of, pool): &(Rc<Pools>, Rc<HostPool>)| {
            let tls = match (&pool.tls, &tls) {
                (Some(known), Some(tls)) => known.fits(tls),
                (known, tls) => known.is_none() && tls.is_none(),
            };
            tls && Rc::ptr_eq(of, cluster) && pool.address == host.address && !pool.retired.get()
        };
        if let Some(at) = pools.iter().rposition(serves) {
            pools[at..].rotate_left(1);
        } else {
            pools.retain(|(_, pool)| !pool.retired.get() && (Rc::strong_count(pool) > 1 || !pool.is_unused()));
            if pools.len() >= MOST {
                pools.remove(0).1.retire();
            }
            let pool = Rc::new(HostPool { client: Some(self.ends), ..cluster.empty(host, tls) });
            cluster.private.add(&pool);
            pools.push((Rc::clone(cluster), pool));
        }
        Rc::clone(&pools[pools.len() - 1].1)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.pools.borrow().iter().for_each(|(_, pool)| pool.retire());
    }
}

/// What a cluster knows of its clients' own pools, to let go of them when an endpoint or itself leaves.
#[derive(Default)]
pub(super) struct Known(RefCell<Vec<Weak<HostPool>>>);

impl Known {
    fn add(&self, pool: &Rc<HostPool>) {
        let mut known = self.0.borrow_mut();
        // Those that are gone are let go when there is no more room: the list is at most twice as long as need be.
        if known.len() == known.capacity() {
            known.retain(|pool| pool.strong_count() > 0);
            let needed = known.len();
            known.reserve(needed.max(16));
        }
        known.push(Rc::downgrade(pool));
    }

    pub(super) fn each(&self, mut tell: impl FnMut(&HostPool)) {
        self.0.borrow().iter().filter_map(Weak::upgrade).for_each(|pool| tell(&pool));
    }
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
