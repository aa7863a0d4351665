//! TLS contexts and the transport sockets that hold them.

use super::common::{any, bool_value, is_true, opaque, opaque_any, unpack};
use crate::decode::DecodeError;
use amime_model::config::{DownstreamTls, Opaque, TlsVersion, UpstreamTls};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets as sockets;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::Any;
use sockets::tls::v3 as pb;
use std::net::IpAddr;

const TLS: &str = "envoy.transport_sockets.tls";
const RAW_BUFFER: &str = "envoy.transport_sockets.raw_buffer";
const PROXY_PROTOCOL: &str = "envoy.transport_sockets.upstream_proxy_protocol";

type Context = pb::common_tls_context::ValidationContextType;

fn socket(name: &str, config: Any) -> core::TransportSocket {
    core::TransportSocket {
        name: name.into(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    }
}

fn config_of(socket: &core::TransportSocket) -> Any {
    match &socket.config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(config)) => config.clone(),
        None => Any::default(),
    }
}

/// How a connection is carried.
pub(crate) struct Transport<T> {
    pub tls: Option<T>,
    pub opaque: Option<Opaque>,
    pub proxy_protocol: Option<u8>,
}

/// None: plaintext, and nothing before it.
pub(crate) fn upstream_to_pb(
    tls: Option<&UpstreamTls>,
    opaque: Option<&Opaque>,
    proxy_protocol: Option<u8>,
) -> Option<core::TransportSocket> {
    let inner = match (opaque, tls) {
        (Some(opaque), _) => Some(socket(&opaque.name, opaque_any(opaque))),
        (None, Some(tls)) => Some(socket(TLS, any(&upstream_context(tls)))),
        (None, None) => None,
    };
    let Some(version) = proxy_protocol else {
        return inner;
    };
    let version = match version {
        1 => core::proxy_protocol_config::Version::V1,
        _ => core::proxy_protocol_config::Version::V2,
    };
    let wrapped = sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport {
        config: Some(core::ProxyProtocolConfig { version: version as i32, ..Default::default() }),
        transport_socket: Some(inner.unwrap_or_else(raw_buffer)),
        ..Default::default()
    };
    Some(socket(PROXY_PROTOCOL, any(&wrapped)))
}

pub(crate) fn raw_buffer() -> core::TransportSocket {
    socket(RAW_BUFFER, any(&sockets::raw_buffer::v3::RawBuffer {}))
}

pub(crate) fn upstream_from_pb(socket: Option<&core::TransportSocket>) -> Result<Transport<UpstreamTls>, DecodeError> {
    let mut transport = Transport { tls: None, opaque: None, proxy_protocol: None };
    let Some(socket) = socket else {
        return Ok(transport);
    };
    let config = config_of(socket);
    if let Some(wrapped) = unpack::<sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport>(&config) {
        let wrapped = wrapped?;
        transport = upstream_from_pb(wrapped.transport_socket.as_ref())?;
        use core::proxy_protocol_config::Version;
        let version = wrapped.config.unwrap_or_default().version;
        transport.proxy_protocol = Some(if version == Version::V2 as i32 { 2 } else { 1 });
        return Ok(transport);
    }
    if unpack::<sockets::raw_buffer::v3::RawBuffer>(&config).is_some() {
        return Ok(transport);
    }
    match unpack::<pb::UpstreamTlsContext>(&config).transpose()?.and_then(upstream_tls) {
        Some(tls) => transport.tls = Some(tls),
        None => transport.opaque = Some(opaque(&socket.name, config)),
    }
    Ok(transport)
}

pub(crate) fn downstream_to_pb(tls: Option<&DownstreamTls>, opaque: Option<&Opaque>) -> Option<core::TransportSocket> {
    match (opaque, tls) {
        (Some(opaque), _) => Some(socket(&opaque.name, opaque_any(opaque))),
        (None, Some(tls)) => Some(socket(TLS, any(&downstream_context(tls)))),
        (None, None) => None,
    }
}

pub(crate) fn downstream_from_pb(
    socket: Option<&core::TransportSocket>,
) -> Result<Transport<DownstreamTls>, DecodeError> {
    let mut transport = Transport { tls: None, opaque: None, proxy_protocol: None };
    let Some(socket) = socket else {
        return Ok(transport);
    };
    let config = config_of(socket);
    if unpack::<sockets::raw_buffer::v3::RawBuffer>(&config).is_some() {
        return Ok(transport);
    }
    match unpack::<pb::DownstreamTlsContext>(&config).transpose()?.and_then(downstream_tls) {
        Some(tls) => transport.tls = Some(tls),
        None => transport.opaque = Some(opaque(&socket.name, config)),
    }
    Ok(transport)
}

fn upstream_context(tls: &UpstreamTls) -> pb::UpstreamTlsContext {
    let mut default = pb::CertificateValidationContext {
        match_typed_subject_alt_names: sans(&tls.match_sans),
        trusted_ca: file_of(tls.validation.as_deref(), ROOT),
        crl: file_of(tls.crl.as_deref(), CRL),
        ..Default::default()
    };
    let validation = match (served(tls.validation.as_ref(), ROOT), tls.insecure) {
        // Envoy checks nothing where there is no validation context at all.
        (None, true) if default == pb::CertificateValidationContext::default() => None,
        (None, insecure) => {
            if insecure {
                default.trust_chain_verification = ACCEPT_UNTRUSTED;
            } else if default.trusted_ca.is_none() {
                default.system_root_certs = Some(Default::default());
            }
            Some(Context::ValidationContext(default))
        }
        (Some(name), insecure) => {
            if insecure {
                default.trust_chain_verification = ACCEPT_UNTRUSTED;
            }
            Some(combined(name, default))
        }
    };
    pb::UpstreamTlsContext {
        common_tls_context: Some(pb::CommonTlsContext {
            tls_params: parameters(tls.min_version, tls.max_version, &[], &[]),
            alpn_protocols: tls.alpn.clone(),
            validation_context_type: validation,
            ..certificates(tls.certificate.iter())
        }),
        sni: tls.sni.clone(),
        ..Default::default()
    }
}

/// Certificates of files as they are, others by SDS.
fn certificates<'a>(names: impl Iterator<Item = &'a String> + Clone) -> pb::CommonTlsContext {
    pb::CommonTlsContext {
        tls_certificates: names.clone().filter_map(|name| certificate_files(name)).collect(),
        tls_certificate_sds_secret_configs: names
            .filter(|name| certificate_files(name).is_none())
            .map(|name| sds(name))
            .collect(),
        ..Default::default()
    }
}

const ACCEPT_UNTRUSTED: i32 = pb::certificate_validation_context::TrustChainVerification::AcceptUntrusted as i32;

/// By SDS alone where the context adds nothing to it.
fn combined(name: &str, default: pb::CertificateValidationContext) -> Context {
    if default == pb::CertificateValidationContext::default() {
        return Context::ValidationContextSdsSecretConfig(sds(name));
    }
    Context::CombinedValidationContext(pb::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(default),
        validation_context_sds_secret_config: Some(sds(name)),
        ..Default::default()
    })
}

/// None where the context holds something that is not understood.
fn upstream_tls(context: pb::UpstreamTlsContext) -> Option<UpstreamTls> {
    let mut common = context.common_tls_context.unwrap_or_default();
    let certificates = certificate_names(&mut common)?;
    let Validation { name: validation, crl, default } = validation_of(common.validation_context_type)?;
    let insecure = match &default {
        None => validation.is_none(),
        Some(default) => default.trust_chain_verification == ACCEPT_UNTRUSTED,
    };
    let default = default.unwrap_or_default();
    let pinned = !default.verify_certificate_hash.is_empty() || !default.verify_certificate_spki.is_empty();
    if pinned || certificates.len() > 1 {
        return None;
    }
    let (min_version, max_version) = versions_from_pb(&common.tls_params.unwrap_or_default());
    Some(UpstreamTls {
        sni: context.sni,
        // The cluster's HTTP options say this; see `cluster`.
        auto_sni: false,
        auto_san_validation: false,
        alpn: common.alpn_protocols,
        certificate: certificates.into_iter().next(),
        validation,
        crl,
        match_sans: sans_from_pb(&default)?,
        insecure,
        min_version,
        max_version,
    })
}

fn downstream_context(tls: &DownstreamTls) -> pb::DownstreamTlsContext {
    let default = pb::CertificateValidationContext {
        match_typed_subject_alt_names: sans(&tls.match_sans),
        verify_certificate_hash: tls.certificate_hashes.clone(),
        verify_certificate_spki: tls.certificate_spki.clone(),
        trusted_ca: file_of(tls.validation.as_deref(), ROOT),
        crl: file_of(tls.crl.as_deref(), CRL),
        ..Default::default()
    };
    let validation = match served(tls.validation.as_ref(), ROOT) {
        Some(name) => Some(combined(name, default)),
        None => (default != pb::CertificateValidationContext::default()).then_some(Context::ValidationContext(default)),
    };
    pb::DownstreamTlsContext {
        common_tls_context: Some(pb::CommonTlsContext {
            tls_params: parameters(tls.min_version, tls.max_version, &tls.cipher_suites, &tls.curves),
            alpn_protocols: tls.alpn.clone(),
            validation_context_type: validation,
            ..certificates(tls.certificates.iter())
        }),
        require_client_certificate: bool_value(Some(tls.require_client_certificate)),
        ..Default::default()
    }
}

/// None where the context holds something that is not understood.
fn downstream_tls(context: pb::DownstreamTlsContext) -> Option<DownstreamTls> {
    let mut common = context.common_tls_context.unwrap_or_default();
    let certificates = certificate_names(&mut common)?;
    let Validation { name: validation, crl, default } = validation_of(common.validation_context_type)?;
    let default = default.unwrap_or_default();
    let params = common.tls_params.unwrap_or_default();
    let (min_version, max_version) = versions_from_pb(&params);
    if default.trust_chain_verification == ACCEPT_UNTRUSTED {
        return None;
    }
    Some(DownstreamTls {
        certificates,
        validation,
        crl,
        require_client_certificate: is_true(context.require_client_certificate),
        alpn: common.alpn_protocols,
        min_version,
        max_version,
        cipher_suites: params.cipher_suites,
        curves: params.ecdh_curves,
        match_sans: sans_from_pb(&default)?,
        certificate_hashes: default.verify_certificate_hash,
        certificate_spki: default.verify_certificate_spki,
    })
}

fn sds(name: &str) -> pb::SdsSecretConfig {
    pb::SdsSecretConfig { name: name.to_owned(), sds_config: super::common::ads() }
}

/// How Istio names files to SDS. On Envoy's wire they are files: no control plane has them.
const CERTIFICATE: &str = "file-cert:";
const ROOT: &str = "file-root:";
const CRL: &str = "file-crl:";

fn file(path: &str) -> Option<core::DataSource> {
    Some(core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    })
}

/// None: by SDS, or nothing.
fn file_of(name: Option<&str>, prefix: &str) -> Option<core::DataSource> {
    file(name?.strip_prefix(prefix)?)
}

/// The name where it is SDS's to serve.
fn served<'n>(name: Option<&'n String>, prefix: &str) -> Option<&'n String> {
    name.filter(|name| !name.starts_with(prefix))
}

/// None: by SDS.
fn certificate_files(name: &str) -> Option<pb::TlsCertificate> {
    let (chain, key) = name.strip_prefix(CERTIFICATE)?.split_once('~')?;
    Some(pb::TlsCertificate { certificate_chain: file(chain), private_key: file(key), ..Default::default() })
}

fn path_of(source: Option<&core::DataSource>) -> Option<&str> {
    match source?.specifier.as_ref()? {
        core::data_source::Specifier::Filename(path) => Some(path),
        _ => None,
    }
}

/// None where certificates come from elsewhere than SDS and files, or from both.
fn certificate_names(common: &mut pb::CommonTlsContext) -> Option<Vec<String>> {
    let elsewhere = common.tls_certificate_provider_instance.is_some()
        || common.custom_tls_certificate_selector.is_some()
        || common.custom_handshaker.is_some();
    let files = common.tls_certificates.iter().map(|certificate| {
        let (chain, key) =
            (path_of(certificate.certificate_chain.as_ref())?, path_of(certificate.private_key.as_ref())?);
        Some(format!("{CERTIFICATE}{chain}~{key}"))
    });
    let files: Vec<String> = files.collect::<Option<_>>()?;
    let configs = std::mem::take(&mut common.tls_certificate_sds_secret_configs);
    if elsewhere || !(files.is_empty() || configs.is_empty()) {
        return None;
    }
    Some(if files.is_empty() { configs.into_iter().map(|c| c.name).collect() } else { files })
}

/// What a peer's certificate is looked at by.
struct Validation {
    /// Of SDS or a file.
    name: Option<String>,
    crl: Option<String>,
    /// The part that is written out.
    default: Option<pb::CertificateValidationContext>,
}

/// None where it says something that is not understood.
fn validation_of(context: Option<Context>) -> Option<Validation> {
    let (mut name, default) = match context {
        None => (None, None),
        Some(Context::ValidationContext(context)) => (None, Some(context)),
        Some(Context::ValidationContextSdsSecretConfig(sds)) => (Some(sds.name), None),
        Some(Context::CombinedValidationContext(combined)) => {
            (Some(combined.validation_context_sds_secret_config?.name), combined.default_validation_context)
        }
        Some(_) => return None,
    };
    let Some(written) = &default else { return Some(Validation { name, crl: None, default }) };
    if written.ca_certificate_provider_instance.is_some() || written.custom_validator_config.is_some() {
        return None;
    }
    if written.trusted_ca.is_some() {
        let path = path_of(written.trusted_ca.as_ref())?;
        if name.replace(format!("{ROOT}{path}")).is_some() {
            return None;
        }
    }
    let crl = match &written.crl {
        Some(crl) => Some(format!("{CRL}{}", path_of(Some(crl))?)),
        None => None,
    };
    Some(Validation { name, crl, default })
}

fn sans(names: &[String]) -> Vec<pb::SubjectAltNameMatcher> {
    use pb::subject_alt_name_matcher::SanType;
    let san = |name: &String| pb::SubjectAltNameMatcher {
        san_type: if name.contains("://") {
            SanType::Uri
        } else if name.parse::<IpAddr>().is_ok() {
            SanType::IpAddress
        } else {
            SanType::Dns
        } as i32,
        matcher: Some(super::common::string_matcher(&amime_model::config::StringMatch::Exact(name.clone()), false)),
        ..Default::default()
    };
    names.iter().map(san).collect()
}

/// None where one is not an exact name.
#[allow(deprecated, reason = "Istio still writes the untyped form")]
fn sans_from_pb(context: &pb::CertificateValidationContext) -> Option<Vec<String>> {
    let typed = context.match_typed_subject_alt_names.iter().map(|san| san.matcher.as_ref());
    let untyped = context.match_subject_alt_names.iter().map(Some);
    let exact = typed.chain(untyped).map(|matcher| match &matcher?.match_pattern {
        Some(MatchPattern::Exact(name)) => Some(name.clone()),
        _ => None,
    });
    exact.collect()
}

fn parameters(
    min: TlsVersion,
    max: TlsVersion,
    cipher_suites: &[String],
    curves: &[String],
) -> Option<pb::TlsParameters> {
    use pb::tls_parameters::TlsProtocol;
    let protocol = |version| match version {
        TlsVersion::Auto => TlsProtocol::TlsAuto,
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    } as i32;
    let params = pb::TlsParameters {
        tls_minimum_protocol_version: protocol(min),
        tls_maximum_protocol_version: protocol(max),
        cipher_suites: cipher_suites.to_vec(),
        ecdh_curves: curves.to_vec(),
        ..Default::default()
    };
    (params != pb::TlsParameters::default()).then_some(params)
}

fn versions_from_pb(params: &pb::TlsParameters) -> (TlsVersion, TlsVersion) {
    use pb::tls_parameters::TlsProtocol;
    let version = |protocol| match protocol {
        TlsProtocol::TlsAuto => TlsVersion::Auto,
        TlsProtocol::TlSv10 => TlsVersion::V1_0,
        TlsProtocol::TlSv11 => TlsVersion::V1_1,
        TlsProtocol::TlSv12 => TlsVersion::V1_2,
        TlsProtocol::TlSv13 => TlsVersion::V1_3,
    };
    (version(params.tls_minimum_protocol_version()), version(params.tls_maximum_protocol_version()))
}
