//! The values that annotations of pods may have, as injection reads them. `annotations` asks.

use std::net::IpAddr;

/// Why injection would refuse the value.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "sidecar.istio.io/interceptionMode" => mode(value),
        "status.sidecar.istio.io/port" => port(value),
        "readiness.status.sidecar.istio.io/initialDelaySeconds"
        | "readiness.status.sidecar.istio.io/periodSeconds"
        | "readiness.status.sidecar.istio.io/failureThreshold" => {
            value.parse::<u32>().map(drop).map_err(|_| format!("{value} is no whole number"))
        }
        "traffic.sidecar.istio.io/includeOutboundIPRanges" if value == "*" => Ok(()),
        "traffic.sidecar.istio.io/includeOutboundIPRanges" | "traffic.sidecar.istio.io/excludeOutboundIPRanges" => {
            list(value, range)
        }
        "traffic.sidecar.istio.io/includeInboundPorts" if value == "*" => Ok(()),
        "traffic.sidecar.istio.io/includeInboundPorts"
        | "traffic.sidecar.istio.io/excludeInboundPorts"
        | "traffic.sidecar.istio.io/excludeOutboundPorts" => list(value, port),
        "traffic.sidecar.istio.io/excludeInterfaces"
        | "traffic.sidecar.istio.io/kubevirtInterfaces"
        | "istio.io/reroute-virtual-interfaces" => list(value, interface),
        "prometheus.istio.io/merge-metrics" => boolean(value),
        "proxy.istio.io/config" => proxy_config(value),
        "sidecar.istio.io/proxyCPU"
        | "sidecar.istio.io/proxyMemory"
        | "sidecar.istio.io/proxyCPULimit"
        | "sidecar.istio.io/proxyMemoryLimit" => quantity(value),
        _ => Ok(()),
    }
}

/// Items between commas; nothing at all is fine.
fn list(value: &str, item: fn(&str) -> Result<(), String>) -> Result<(), String> {
    if value.trim().is_empty() { Ok(()) } else { value.split(',').try_for_each(item) }
}

fn mode(value: &str) -> Result<(), String> {
    match value {
        "REDIRECT" | "TPROXY" | "NONE" => Ok(()),
        other => Err(format!("{other} is none of REDIRECT, TPROXY, NONE")),
    }
}

fn port(value: &str) -> Result<(), String> {
    value.trim().parse::<u16>().map(drop).map_err(|_| format!("{value} is no port"))
}

fn range(value: &str) -> Result<(), String> {
    let (address, bits) = value.split_once('/').ok_or_else(|| format!("{value} is no range such as 10.0.0.0/8"))?;
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return Err(format!("{address} is no IP address")),
    };
    match bits.parse::<u8>() {
        Ok(bits) if bits <= most => Ok(()),
        _ => Err(format!("{bits} is no number of bits up to {most}")),
    }
}

/// As Linux has them: at most 15 characters.
fn interface(value: &str) -> Result<(), String> {
    let name = value.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':');
    if !name.is_empty() && name.len() <= 15 && name.chars().all(fits) {
        Ok(())
    } else {
        Err(format!("{value:?} is no interface"))
    }
}

fn boolean(value: &str) -> Result<(), String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(()),
        other => Err(format!("{other} is neither true nor false")),
    }
}

/// Kubernetes' quantity: a number with a unit, as 100m, 1.5Gi, 2e3.
fn quantity(value: &str) -> Result<(), String> {
    const UNITS: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let bare = value.strip_prefix(['+', '-']).unwrap_or(value);
    let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
    let (number, unit) = bare.split_at(end);
    let is_number = number.parse::<f64>().is_ok();
    let exponent = unit.strip_prefix(['e', 'E']).is_some_and(|rest| rest.parse::<i32>().is_ok());
    if is_number && (exponent || UNITS.contains(&unit)) {
        Ok(())
    } else {
        Err(format!("{value:?} is no quantity such as 100m or 1Gi"))
    }
}

fn proxy_config(value: &str) -> Result<(), String> {
    match crate::resource::proxy_config_problem(value) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}
