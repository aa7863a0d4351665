use super::*;
use crate::balance::HostShared;
use crate::connect::dial::{ConnectSettings, Outside};
use crate::connect::pool::PoolSettings;
use amime_model::config::{Cluster, Discovery};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

fn cluster() -> Rc<Pools> {
    let config = Cluster::new("a", Discovery::Static(Default::default()));
    let settings = PoolSettings {
        connect: ConnectSettings::of(&config, Outside::default()),
        max_connections: 1,
        max_pending: 1,
        max_requests_per_connection: 0,
        max_concurrent_streams: 1,
        idle_timeout: None,
        max_connection_duration: None,
        http2_keepalive: None,
        by_alpn: false,
    };
    Pools::new(settings, Arc::default(), Rc::default(), Arc::default())
}

fn host(port: usize) -> Host {
    Host {
        address: SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap())),
        weight: 1,
        usable: true,
        endpoint: None,
        shared: Arc::new(HostShared::default()),
        number: Cell::default(),
        peer: RefCell::default(),
    }
}

fn client() -> Private {
    Private::new((host(1).address, host(2).address))
}

#[test]
fn a_client_has_so_many() {
    let (cluster, client) = (cluster(), client());
    let pool = |port| client.pool(&cluster, &host(port), None);
    let held: Vec<_> = (1..=MOST).map(pool).collect();
    assert!(Rc::ptr_eq(&held[0], &pool(1)));
    let _one_more = pool(MOST + 1);
    // The first was used again since.
    let retired: Vec<_> = held.iter().filter(|pool| pool.retired.get()).map(|pool| pool.address.port()).collect();
    assert_eq!(retired, [2]);
    assert_eq!(client.pools.borrow().len(), MOST);
    // What nobody uses makes room before.
    drop(held);
    let _one_more = pool(MOST + 2);
    assert_eq!(client.pools.borrow().len(), 2);
}

#[test]
fn those_of_another_cluster_or_client_are_others() {
    let (one, other, client) = (cluster(), cluster(), client());
    let pool = client.pool(&one, &host(1), None);
    assert!(!Rc::ptr_eq(&pool, &client.pool(&other, &host(1), None)));
    assert!(!Rc::ptr_eq(&pool, &self::client().pool(&one, &host(1), None)));
    assert!(Rc::ptr_eq(&pool, &client.pool(&one, &host(1), None)));
    drop(client);
    assert!(pool.retired.get());
}

#[test]
fn they_go_with_their_endpoint_or_cluster() {
    let (cluster, client) = (cluster(), client());
    let (stays, leaves) = (client.pool(&cluster, &host(1), None), client.pool(&cluster, &host(2), None));
    cluster.retain(|address| address.port() == 1);
    assert_eq!((stays.retired.get(), leaves.retired.get()), (false, true));
    assert!(!Rc::ptr_eq(&leaves, &client.pool(&cluster, &host(2), None)));
    cluster.retire();
    assert!(stays.retired.get());
}

#[test]
fn a_cluster_forgets_those_that_are_gone() {
    let cluster = cluster();
    let (client, _keeping) = (client(), client().pool(&cluster, &host(1), None));
    let _kept = client.pool(&cluster, &host(1), None);
    for _ in 0..10_000 {
        self::client().pool(&cluster, &host(1), None);
    }
    assert!(cluster.private.0.borrow().len() <= 64);
    let mut known = 0;
    cluster.private.each(|_| known += 1);
    assert_eq!(known, 2);
}
