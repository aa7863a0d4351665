//! The TCP proxy: a connection goes to an endpoint of a cluster, byte for byte.

pub(crate) mod copy;
mod tunnel;

use crate::balance::limits::{Connections, Gauge, Unit};
use crate::balance::outlier::Outcome;
use crate::balance::{Host, PickContext};
use crate::cluster::{ActiveHost, ClusterLocal};
use crate::connect::dial::{DialError, dial};
use crate::connect::dynamic::Unresolved;
use crate::connect::pool::Reset;
use crate::flags::Flags;
use crate::http::connection::Accepted;
use crate::listen::stream::ClientStream;
use crate::proxy_worker::ProxyWorker;
use crate::runtime::{ChainRuntime, ListenerRuntime, TcpRuntime};
use crate::telemetry::tcp::{Counted, entry};
use crate::telemetry::totals::one_more;
use crate::telemetry::{RequestRecord, Upstream};
use crate::tls::stream::UpstreamStream;
use amime_model::config::{Discovery, Tunnel};
use bytes::BytesMut;
use copy::copy_both;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tunnel::Refused;
use xxhash_rust::xxh64::xxh64;

/// Envoy's default.
const IDLE: Duration = Duration::from_secs(3600);

/// Serves a connection to its end.
pub(crate) async fn serve(
    proxy: Rc<ProxyWorker>,
    listener: Arc<ListenerRuntime>,
    chain: Arc<ChainRuntime>,
    tcp: Arc<TcpRuntime>,
    mut accepted: Accepted,
) {
    let server_name = accepted.server_name.take();
    let started = Instant::now();
    let mut record = RequestRecord::of_connection(&proxy, &listener, accepted.ends);
    record.tcp_origin = tcp.origin.clone();
    let mut counted = Counted::new(&proxy, &listener);
    let ended = proxy.ended(&listener, &chain);
    let running = run(&proxy, &tcp, accepted, server_name.as_deref(), ended, &mut record, &mut counted);
    record.flags = match tcp.config.max_duration {
        Some(most) => tokio::time::timeout(most, Box::pin(running)).await.unwrap_or(Flags::DT),
        None => running.await,
    };
    let flow = counted.end(record.flags);
    record.bytes_received = flow.copied.up.get();
    record.bytes_sent = flow.copied.down.get();
    record.duration = started.elapsed();
    if let Some(logs) = &tcp.logs {
        logs.write(&entry(&record, server_name.as_deref(), &tcp.chain), &proxy.lines);
    }
    proxy.recorder.push(record);
}

/// The flags that the connection ends with, at the latest when `ended` says so.
async fn run(
    proxy: &Rc<ProxyWorker>,
    tcp: &TcpRuntime,
    mut accepted: Accepted,
    server_name: Option<&str>,
    ended: impl Future<Output = ()>,
    record: &mut RequestRecord,
    counted: &mut Counted,
) -> Flags {
    let name = choose(tcp, proxy.rng.next_u32());
    let Some(cluster) = proxy.cluster(name) else {
        return Flags::NC;
    };
    record.cluster = Some(cluster.shared.name.clone());
    counted.chosen(&cluster);
    if let Discovery::DynamicDns(cache) = &cluster.config.discovery {
        accepted.original = match (server_name, tcp.sni_port) {
            (Some(name), Some(port)) => match proxy.shared.dynamic.addresses(cache, name).await {
                Ok(addresses) => addresses.first().map(|ip| SocketAddr::new(*ip, port)),
                Err(Unresolved::NoAddress) => return Flags::DF,
                Err(Unresolved::TooMany) => return Flags::UO,
            },
            _ => None,
        };
    }
    let mut ended = std::pin::pin!(ended);
    let connection = tokio::select! {
        biased;
        () = &mut ended => return Flags::LR,
        connection = connect(proxy, tcp, &cluster, &mut accepted, record) => connection,
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(flags) => {
            return flags;
        }
    };
    let Connected { stream: upstream, host, _slot } = connection;
    let flow = counted.connected(Some(&host.get().0));
    let idle = Some(tcp.config.idle_timeout.unwrap_or(IDLE)).filter(|idle| !idle.is_zero());
    let copied = async {
        match upstream {
            Onward::Endpoint(stream) => copy_both(accepted.stream, stream, idle, &flow.copied).await,
            // Boxed, for it is rare: every connection's future would have to hold it.
            Onward::Tunnel(tunnel) => {
                let tunnel::Opened { stream, held: _held, .. } = *tunnel;
                Box::pin(copy_both(accepted.stream, stream, idle, &flow.copied)).await
            }
        }
    };
    let ended = tokio::select! {
        biased;
        () = ended => return Flags::LR,
        ended = copied => ended,
    };
    if ended.upstream_failed {
        Flags::UC
    } else if ended.client_failed {
        Flags::DC
    } else {
        Flags::NONE
    }
}

/// The weighted cluster that a draw falls on.
fn choose(tcp: &TcpRuntime, draw: u32) -> &str {
    let mut left = draw % tcp.total_weight;
    for cluster in &tcp.config.clusters {
        match left.checked_sub(cluster.weight) {
            Some(rest) => left = rest,
            None => return &cluster.name,
        }
    }
    tcp.config.clusters.first().map_or("", |cluster| &cluster.name)
}

/// What a client's bytes go over.
enum Onward {
    Endpoint(UpstreamStream),
    Tunnel(Box<tunnel::Opened>),
}

struct Connected {
    stream: Onward,
    host: Unit<ActiveHost>,
    /// A tunnel's connections are counted where they are pooled.
    _slot: Option<Unit<Connections>>,
}

/// Why there is no connection: the status that counts for it, and what the log says.
struct Failed {
    status: u16,
    reason: &'static str,
}

async fn connect(
    proxy: &Rc<ProxyWorker>,
    tcp: &TcpRuntime,
    cluster: &Rc<ClusterLocal>,
    accepted: &mut Accepted,
    record: &mut RequestRecord,
) -> Result<Connected, Flags> {
    let settings = &cluster.pools.settings;
    let usage = Connections(cluster.shared.usage.clone());
    let slot = match &tcp.config.tunnel {
        None => Some(Gauge::take_below(usage, settings.max_connections).ok_or(Flags::UO)?),
        Some(_) => None,
    };
    let hash = tcp.config.hash_source_ip.then(|| xxh64(accepted.ends.remote.ip().to_string().as_bytes(), 0));
    let mut tried = Vec::new();
    loop {
        let context = PickContext { hash, tried: &tried, reselect: 2, leave_priorities: None, now: Instant::now() };
        let host: Rc<Host> = cluster.pick(&context, accepted.original, &proxy.rng).ok_or(Flags::UH)?;
        record.attempts += 1;
        record.upstream = Some(Upstream { address: host.address, endpoint: host.endpoint.clone() });
        let opened = match &tcp.config.tunnel {
            None => to_endpoint(cluster, &host, accepted, record).await?,
            Some(tunnel) => Box::pin(through(cluster, &host, tunnel, &mut accepted.stream, record)).await?,
        };
        match opened {
            Ok(stream) => {
                record.transport_failure = "";
                cluster.report(&host, Outcome::Connected, &proxy.rng);
                return Ok(Connected { stream, host: Gauge::take(ActiveHost(host)), _slot: slot });
            }
            Err(Failed { status, reason }) => {
                record.transport_failure = reason;
                cluster.report(&host, Outcome::Local(status), &proxy.rng);
                if record.attempts >= tcp.config.max_connect_attempts.max(1) {
                    return Err(Flags::UF.with(Flags::URX));
                }
                tried.push(host.address);
            }
        }
    }
}

/// Flags where no try can help.
async fn to_endpoint(
    cluster: &ClusterLocal,
    host: &Host,
    accepted: &Accepted,
    record: &mut RequestRecord,
) -> Result<Result<Onward, Failed>, Flags> {
    let handshake = cluster.handshake(host).map_err(|missing| {
        record.details = missing.details();
        Flags::UF
    })?;
    let client = (accepted.ends.remote, accepted.ends.local);
    Ok(match dial(host.address, host.pipe(), &cluster.pools.settings.connect, handshake.as_ref(), Some(client)).await {
        Ok(stream) => {
            one_more(&cluster.pools.counts.connections);
            record.upstream_local = stream.local_addr().ok();
            Ok(Onward::Endpoint(stream))
        }
        Err(error) => {
            tracing::debug!(address = %host.address, %error, "cannot connect");
            one_more(&cluster.pools.counts.connect_failures);
            let status = if matches!(error, DialError::TimedOut) { 504 } else { 503 };
            Err(Failed { status, reason: error.transport_failure() })
        }
    })
}

async fn through(
    cluster: &Rc<ClusterLocal>,
    host: &Host,
    asked: &Tunnel,
    client: &mut ClientStream,
    record: &mut RequestRecord,
) -> Result<Result<Onward, Failed>, Flags> {
    let mut said = BytesMut::new();
    let opened = tokio::select! {
        biased;
        opened = tunnel::open(cluster, host, asked) => Some(opened),
        () = tunnel::gone(client, &mut said) => None,
    };
    client.unread(said.freeze());
    let opened = opened.ok_or(Flags::DC)?;
    Ok(match opened {
        Ok(opened) => {
            record.upstream_local = opened.local;
            Ok(Onward::Tunnel(Box::new(opened)))
        }
        Err(Refused::Missing(missing)) => {
            record.details = missing.details();
            return Err(Flags::UF);
        }
        Err(Refused::Reset(Reset::Overflow, _)) => return Err(Flags::UO),
        Err(Refused::Reset(reset, pool)) => {
            let status = if reset == Reset::ConnectTimeout { 504 } else { 503 };
            let reason = if reset == Reset::ConnectFailed { pool.failure.get() } else { "" };
            Err(Failed { status, reason })
        }
        Err(Refused::Status(status)) => {
            tracing::debug!(address = %host.address, %status, "no tunnel");
            Err(Failed { status: 503, reason: "" })
        }
        Err(Refused::Request) => return Err(Flags::UF),
    })
}
