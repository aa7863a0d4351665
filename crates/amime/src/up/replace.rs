//! `--replace [NAMESPACE/]WORKLOAD[:PORT]=HOST:PORT`: a process of the user's in the place of a workload's pods.

use amime_model::workload::Replacement;
use anyhow::Context;
use std::net::ToSocketAddrs;
use std::str::FromStr;

/// The option as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplaceArg {
    /// `default` where none is written.
    pub(crate) namespace: String,
    pub(crate) workload: String,
    /// None: the workload's only port.
    pub(crate) port: Option<u16>,
    /// `HOST:PORT`, not resolved.
    target: String,
}

impl FromStr for ReplaceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (who, target) = text.split_once('=').ok_or("expected WORKLOAD=HOST:PORT")?;
        let (namespace, workload) = who.split_once('/').unwrap_or(("default", who));
        let (workload, port) = match workload.split_once(':') {
            Some((workload, port)) => (workload, Some(port_number(port)?)),
            None => (workload, None),
        };
        if namespace.is_empty() || workload.is_empty() {
            return Err("expected [NAMESPACE/]WORKLOAD[:PORT] before the =".into());
        }
        let (host, port_of_target) = target.rsplit_once(':').ok_or("expected HOST:PORT after the =")?;
        if host.is_empty() {
            return Err("expected HOST:PORT after the =".into());
        }
        port_number(port_of_target)?;
        Ok(Self { namespace: namespace.into(), workload: workload.into(), port, target: target.into() })
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{text} is not a port"))
}

impl ReplaceArg {
    /// Looks the host up. Of several addresses an IPv4 one is taken: pods have IPv4 addresses, and a server that
    /// listens on localhost nearly always listens there.
    pub(crate) fn resolve(&self) -> anyhow::Result<Replacement> {
        let found: Vec<_> = self.target.to_socket_addrs().with_context(|| format!("--replace {self}"))?.collect();
        let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
        Ok(Replacement {
            namespace: self.namespace.clone(),
            workload: self.workload.clone(),
            port: self.port,
            address: address.with_context(|| format!("--replace {self}: the host has no address"))?,
        })
    }
}

impl std::fmt::Display for ReplaceArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.workload)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "={}", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        for (text, shown) in [
            ("reviews-v1=127.0.0.1:9999", "default/reviews-v1=127.0.0.1:9999"),
            ("shop/reviews-v1:9080=localhost:1", "shop/reviews-v1:9080=localhost:1"),
            ("a=[::1]:80", "default/a=[::1]:80"),
        ] {
            assert_eq!(text.parse::<ReplaceArg>().expect("sound").to_string(), shown);
        }
        for bad in ["a", "a=", "=h:1", "a=h", "a=h:x", "a:=h:1", "a:0=h:1", "/a=h:1", "ns/=h:1", "a=:1"] {
            assert!(bad.parse::<ReplaceArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv4_is_preferred() {
        let arg: ReplaceArg = "a=localhost:9".parse().expect("sound");
        assert_eq!(arg.resolve().expect("localhost resolves").address, "127.0.0.1:9".parse().expect("an address"));
    }
}
