//! The certificate of the TLS port: the files of the command line, or a self-signed one for every name by which this
//! control plane may be called. `run` asks for it.

use super::Options;
use crate::up::log::Printer;
use amime_control::tls::ServerTls;
use anyhow::Context;

/// Where Istio's proxies expect their control plane.
const SERVICE: &str = "istiod.istio-system.svc";

pub(super) fn of(options: &Options, printer: &Printer) -> anyhow::Result<ServerTls> {
    if let Some((certificate, key)) = &options.tls_files {
        return ServerTls::from_files(certificate, key).context("--tls-cert");
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), SERVICE.to_owned()];
    if !options.bind.is_unspecified() && !options.bind.is_loopback() {
        names.push(options.bind.to_string());
    }
    if let Ok(host) = rustix::system::uname().nodename().to_str()
        && !host.is_empty()
        && !names.iter().any(|name| name == host)
    {
        names.push(host.to_owned());
    }
    let tls = ServerTls::self_signed(&names, options.state.as_deref()).context("a certificate for --tls-port")?;
    printer.print(format!("self-signed certificate: SHA-256 {}", tls.fingerprint()));
    Ok(tls)
}
