//! HAProxy and Envoy with the same task: one thread, one listener, a route by path, one keep-alive origin.

use crate::{Contender, free_port, load, on_core};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a program is, and what it says of its version; None where it is not installed.
fn installed(variable: &str, name: &str, flag: &str) -> Option<(String, String)> {
    let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    let output = Command::new(&program).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text
        .split(|c: char| c.is_whitespace() || c == '/')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .map(|word| word.split(['-', '+']).next().unwrap_or(word).to_owned())
        .unwrap_or_default();
    Some((program, format!("{name} {version}")))
}

fn start(name: String, program: &str, arguments: &[&str], address: SocketAddr) -> std::io::Result<Contender> {
    let child = on_core(0, program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let contender = Contender { name, child, address };
    load::wait_for(address)?;
    Ok(contender)
}

fn file(name: &str, text: &str) -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("amime-bench-{}-{name}", std::process::id()));
    std::fs::write(&path, text)?;
    Ok(path)
}

pub(crate) fn haproxy(origin: SocketAddr) -> std::io::Result<Option<Contender>> {
    let Some((program, name)) = installed("HAPROXY", "haproxy", "-v") else {
        println!("haproxy is not installed: left out");
        return Ok(None);
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend gateway\n  bind {address}\n  option forwardfor\n  unique-id-format %{{+X}}o%ci%cp%Ts%rt\n  unique-id-header x-request-id\n  \
         acl items path_beg /items\n  use_backend items if items\n\
         backend items\n  server one {origin}\n"
    );
    let path = file("haproxy.cfg", &config)?;
    start(name, &program, &["-db", "-f", &path.display().to_string()], address).map(Some)
}

pub(crate) fn envoy(origin: SocketAddr) -> std::io::Result<Option<Contender>> {
    let Some((program, name)) = installed("ENVOY", "envoy", "--version") else {
        println!("envoy is not installed: left out");
        return Ok(None);
    };
    let name = if name.trim() == "envoy" { "envoy".to_owned() } else { name };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = serde_json::json!({
        "static_resources": {
            "listeners": [{
                "name": "gateway",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": address.port() } },
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "gateway",
                        "use_remote_address": true,
                        "route_config": { "virtual_hosts": [{
                            "name": "shop", "domains": ["shop.example.com", "shop.example.com:*"],
                            "routes": [{ "match": { "prefix": "/items" }, "route": { "cluster": "items", "timeout": "0s" } }]
                        }] },
                        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config":
                            { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }]
                    }
                }] }]
            }],
            "clusters": [{
                "name": "items", "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": { "cluster_name": "items", "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                    "address": { "socket_address": { "address": "127.0.0.1", "port_value": origin.port() } } } }] }] }
            }]
        }
    });
    let path = file("envoy.json", &config.to_string())?;
    let arguments =
        ["-c", &path.display().to_string(), "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"];
    start(name, &program, &arguments, address).map(Some)
}
