//! Secrets and TLS listeners for tests.

use super::*;
use amime_testkit::tls::{Authority, Client, Pair};

pub fn certificate(name: &str, pair: &Pair) -> Secret {
    Secret::Certificate { name: name.into(), chain: pair.chain.clone().into(), key: pair.key.clone().into() }
}

pub fn trust(name: &str, authority: &Authority) -> Secret {
    revoking(name, authority, "")
}

pub fn revoking(name: &str, authority: &Authority, list: &str) -> Secret {
    Secret::Validation { name: name.into(), roots: authority.pem.clone().into(), crl: list.into() }
}

pub fn with_secrets(mut config: ProxyConfig, secrets: impl IntoIterator<Item = Secret>) -> ProxyConfig {
    for secret in secrets {
        config.secrets.insert(secret.name().into(), Arc::new(secret));
    }
    config
}

/// A server's TLS with this certificate.
pub fn simple(certificate: &str) -> DownstreamTls {
    DownstreamTls {
        certificates: vec![certificate.into()],
        alpn: vec!["h2".into(), "http/1.1".into()],
        ..DownstreamTls::default()
    }
}

/// The chain with TLS in front, for these server names (any where empty).
pub fn ending(tls: DownstreamTls, names: &[&str], chain: FilterChain) -> FilterChain {
    let server_names = names.iter().map(|name| (*name).to_owned()).collect();
    FilterChain { tls: Some(tls), matches: FilterChainMatch { server_names, ..chain.matches.clone() }, ..chain }
}

/// One TLS listener with these chains, and the routes "80".
pub fn tls_config(
    chains: Vec<FilterChain>,
    table: Vec<Route>,
    clusters: impl IntoIterator<Item = Cluster>,
    secrets: impl IntoIterator<Item = Secret>,
) -> ProxyConfig {
    let mut listener = listener("test", ANY, chains);
    listener.listener_filters = vec![ListenerFilter::TlsInspector];
    let mut config = ProxyConfig::default();
    config.listeners.insert("test".into(), Arc::new(listener));
    config.routes.insert("80".into(), Arc::new(routes("80", table)));
    with_secrets(with_clusters(config, clusters), secrets)
}

/// A chain with the routes "80".
pub fn https(tls: DownstreamTls, names: &[&str]) -> FilterChain {
    ending(tls, names, http_chain(hcm(RouteSource::Rds("80".into()))))
}

/// The status and body of a GET over HTTP/1.1 and TLS; None where it is refused.
pub async fn get_by(client: &Client, address: SocketAddr, name: &str) -> Option<(u16, String)> {
    let stream = client.connect(address, name).await.ok()?;
    let mut raw = amime_testkit::client::Raw::over(stream);
    // With TLS 1.3 a client learns that it is refused only when it reads.
    use tokio::io::AsyncWriteExt;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    raw.stream.write_all(request.as_bytes()).await.ok()?;
    let answer = raw.answer(false).await?;
    Some((answer.status, answer.body))
}
