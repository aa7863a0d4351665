//! How a proxy runs and ends: workers, ports and drain times, from flags, environment and ProxyConfig. `run` reads them.

use super::environment::Environment;
use super::proxy_config::ProxyConfig;
use super::{Kind, Ports};
use anyhow::bail;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Istio's defaults.
const TERMINATION_DRAIN: Duration = Duration::from_secs(5);
const MINIMUM_DRAIN: Duration = Duration::from_secs(5);
const IDLE_DRAIN: Duration = Duration::from_secs(45);
const SIDECAR_WORKERS: usize = 2;

/// How a proxy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifecycle {
    /// How long a proxy that is told to end goes on for what is there (`terminationDrainDuration`).
    pub(super) termination_drain: Duration,
    /// With `exit_on_zero`, how long it goes on whatever is there.
    pub(super) minimum_drain: Duration,
    /// Ends when no connection is open, and not before.
    pub(super) exit_on_zero: bool,
    /// How long connections of a removed listener may stay idle (`drainDuration`).
    pub(super) idle_drain: Duration,
}

impl Lifecycle {
    pub(super) fn of(environment: &Environment, config: &ProxyConfig) -> anyhow::Result<Self> {
        const TERMINATION: &str = "TERMINATION_DRAIN_DURATION_SECONDS";
        let seconds: Option<u64> = environment.parsed(TERMINATION, "write a number of seconds")?;
        Ok(Self {
            termination_drain: seconds
                .map(Duration::from_secs)
                .or(config.termination_drain)
                .unwrap_or(TERMINATION_DRAIN),
            minimum_drain: environment.duration("MINIMUM_DRAIN_DURATION")?.unwrap_or(MINIMUM_DRAIN),
            exit_on_zero: environment.flag("EXIT_ON_ZERO_ACTIVE_CONNECTIONS")?.unwrap_or(false),
            idle_drain: config.drain.unwrap_or(IDLE_DRAIN),
        })
    }

    /// As the node's metadata tells it.
    pub(super) fn to_json(self) -> Value {
        let text = |duration: Duration| format!("{}s", duration.as_secs_f64());
        json!({
            "terminationDrainDuration": text(self.termination_drain),
            "drainDuration": text(self.idle_drain),
        })
    }
}

/// How many worker threads: `--concurrency`, ProxyConfig's, the container's CPU limit, or the kind's own.
pub(super) fn workers(
    kind: Kind,
    flag: Option<usize>,
    environment: &Environment,
    config: &ProxyConfig,
    cores: usize,
) -> anyhow::Result<usize> {
    const LIMIT: &str = "ISTIO_CPU_LIMIT";
    let limit = environment.parsed::<usize>(LIMIT, "write a whole number of CPUs")?.filter(|limit| *limit > 0);
    let own = match kind {
        Kind::Sidecar => SIDECAR_WORKERS.min(cores),
        Kind::Gateway => cores,
    };
    let wanted = flag.or(config.concurrency).map(|number| if number == 0 { cores } else { number });
    Ok(wanted.or(limit).unwrap_or(own).max(1))
}

/// Where the proxy's own pages are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) admin: u16,
    pub(super) agent: u16,
    pub(super) health: u16,
    pub(super) stats: u16,
    /// Of all but admin.
    pub(super) bind: Vec<IpAddr>,
}

impl Pages {
    pub(super) fn of(
        ports: &Ports,
        address: IpAddr,
        environment: &Environment,
        config: &ProxyConfig,
    ) -> anyhow::Result<Self> {
        let port = |name: &str| environment.parsed::<u16>(name, "write a port, 0 to 65535");
        let bind = match ports.bind.as_slice() {
            [] if address.is_loopback() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            [] => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            given => given.to_vec(),
        };
        let pages = Self {
            admin: ports.admin.or(config.admin_port).unwrap_or(15000),
            agent: ports.agent.or(config.status_port).unwrap_or(15020),
            health: ports.health.or(port("ENVOY_STATUS_PORT")?).unwrap_or(15021),
            stats: ports.stats.or(port("ENVOY_PROMETHEUS_PORT")?).unwrap_or(15090),
            bind,
        };
        let named = [
            ("--admin-port", pages.admin),
            ("--agent-port", pages.agent),
            ("--health-port", pages.health),
            ("--stats-port", pages.stats),
            ("--outbound-port", ports.capture.outbound.unwrap_or(15001)),
            ("--inbound-port", ports.capture.inbound.unwrap_or(15006)),
        ];
        for (index, (one, port)) in named.iter().enumerate() {
            if let Some((other, _)) = named[index + 1..].iter().find(|(_, other)| other == port && *port != 0) {
                bail!("{one} and {other} are both {port}: give one of them another port");
            }
        }
        Ok(pages)
    }

    /// All of them; what is 0 is known only when it is opened.
    pub(super) fn ports(&self) -> [u16; 4] {
        [self.admin, self.agent, self.health, self.stats]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amime_proxy::CapturePorts;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn workers_by_flag_config_limit_and_kind() {
        let limited = environment(&[("ISTIO_CPU_LIMIT", "3")]);
        let config = ProxyConfig { concurrency: Some(0), ..ProxyConfig::default() };
        let (bare, none) = (Environment::default(), ProxyConfig::default());
        for (kind, flag, environment, config, cores, expected) in [
            (Kind::Sidecar, None, &bare, &none, 8, 2),
            (Kind::Sidecar, None, &bare, &none, 1, 1),
            (Kind::Gateway, None, &bare, &none, 8, 8),
            (Kind::Sidecar, None, &limited, &none, 8, 3),
            (Kind::Sidecar, None, &limited, &config, 8, 8),
            (Kind::Gateway, Some(4), &limited, &config, 8, 4),
        ] {
            assert_eq!(workers(kind, flag, environment, config, cores).unwrap(), expected, "{kind:?} {flag:?}");
        }
        assert!(workers(Kind::Sidecar, None, &environment(&[("ISTIO_CPU_LIMIT", "few")]), &none, 1).is_err());
    }

    #[test]
    fn ports_that_collide_are_named() {
        let ports = |agent, health| Ports {
            admin: Some(0),
            agent: Some(agent),
            health: Some(health),
            stats: Some(0),
            bind: Vec::new(),
            capture: CapturePorts { outbound: Some(25001), inbound: None },
        };
        let (bare, config) = (Environment::default(), ProxyConfig::default());
        let of = |agent, health| Pages::of(&ports(agent, health), Ipv4Addr::LOCALHOST.into(), &bare, &config);
        assert_eq!(of(0, 0).unwrap().bind.len(), 2);
        let error = of(0, 25001).unwrap_err().to_string();
        assert_eq!(error, "--health-port and --outbound-port are both 25001: give one of them another port");
    }

    #[test]
    fn drain_times() {
        let config = ProxyConfig { termination_drain: Some(Duration::from_secs(9)), ..ProxyConfig::default() };
        let istio = Lifecycle::of(&Environment::default(), &ProxyConfig::default()).unwrap();
        assert_eq!((istio.termination_drain, istio.exit_on_zero), (Duration::from_secs(5), false));
        assert_eq!(Lifecycle::of(&Environment::default(), &config).unwrap().termination_drain.as_secs(), 9);
        let all = environment(&[
            ("TERMINATION_DRAIN_DURATION_SECONDS", "30"),
            ("MINIMUM_DRAIN_DURATION", "1m"),
            ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
        ]);
        let all = Lifecycle::of(&all, &config).unwrap();
        assert_eq!((all.termination_drain.as_secs(), all.minimum_drain.as_secs(), all.exit_on_zero), (30, 60, true));
        let wrong = environment(&[("TERMINATION_DRAIN_DURATION_SECONDS", "5s")]);
        let error = Lifecycle::of(&wrong, &config).unwrap_err().to_string();
        assert_eq!(error, "TERMINATION_DRAIN_DURATION_SECONDS=5s: write a number of seconds");
    }
}
