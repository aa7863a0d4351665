//! How a cluster's endpoints are spoken to: in plaintext or TLS, by the endpoint's labels where those decide.
//!
//! `cluster` builds them for each worker, and asks for the transport of a host before anything is sent.

use crate::balance::Host;
use crate::tls::client::ClientContext;
use crate::tls::secrets::Secrets;
use amime_model::config::{Cluster, UpstreamProtocol, UpstreamTls};
use std::rc::Rc;
use std::sync::Arc;

/// What an upstream connection would need and there is not. Without it nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Why no TLS can be spoken.
    Tls(Arc<str>),
    /// A transport socket that is not understood.
    Transport,
}

impl Missing {
    /// For the proxy's own log: it may name secrets.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Tls(reason) => reason,
            _ => self.told(),
        }
    }

    /// For clients.
    pub(crate) fn told(&self) -> &'static str {
        match self {
            // Envoy's words where a secret has not come.
            Self::Tls(_) => {
                "remote connection failure, transport failure reason: TLS error: Secret is not supplied by SDS"
            }
            Self::Transport => "the cluster's transport socket is not understood",
        }
    }

    pub(crate) fn details(&self) -> &'static str {
        match self {
            Self::Tls(_) => {
                "upstream_reset_before_response_started{remote_connection_failure|TLS_error:_Secret_is_not_supplied_by_SDS}"
            }
            Self::Transport => "upstream_transport_not_supported{transport_socket}",
        }
    }
}

/// None: plaintext.
type Transport = Result<Option<Rc<ClientContext>>, Missing>;

#[derive(Debug, PartialEq)]
pub(crate) struct Transports {
    /// By labels of the endpoint; the first that fits wins.
    matches: Vec<(Vec<(String, String)>, Transport)>,
    /// Where none fits.
    other: Transport,
}

impl Transports {
    /// What `previous` has made of the same stays the same, so that its connections fit.
    pub(crate) fn build(config: &Cluster, secrets: &Secrets, previous: Option<&Self>) -> Self {
        let by_alpn = config.protocol == UpstreamProtocol::Alpn;
        let context = |tls: Option<&UpstreamTls>, opaque: bool| match tls {
            Some(tls) => {
                let offering;
                let tls = if by_alpn && tls.alpn.is_empty() {
                    offering = UpstreamTls { alpn: vec!["h2".into(), "http/1.1".into()], ..tls.clone() };
                    &offering
                } else {
                    tls
                };
                let known = previous.and_then(|previous| previous.contexts().find(|known| known.is(tls, secrets)));
                if let Some(known) = known {
                    return Ok(Some(Rc::clone(known)));
                }
                let built = ClientContext::build(tls, secrets);
                built.map(|context| Some(Rc::new(context))).map_err(|reason| Missing::Tls(reason.into()))
            }
            None if opaque => Err(Missing::Transport),
            None => Ok(None),
        };
        let matches = config.transport_socket_matches.iter();
        Self {
            matches: matches.map(|m| (m.labels.clone(), context(m.tls.as_ref(), m.opaque.is_some()))).collect(),
            other: context(config.tls.as_ref(), config.opaque_transport.is_some()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Transport> {
        self.matches.iter().map(|(_, transport)| transport).chain([&self.other])
    }

    fn contexts(&self) -> impl Iterator<Item = &Rc<ClientContext>> {
        self.all().filter_map(|transport| transport.as_ref().ok()?.as_ref())
    }

    /// The first thing that is missing.
    pub(crate) fn problem(&self) -> Option<&Missing> {
        self.all().find_map(|transport| transport.as_ref().err())
    }

    /// The transport of a host.
    pub(crate) fn of(&self, host: &Host) -> Result<Option<&Rc<ClientContext>>, Missing> {
        let mut chosen = &self.other;
        if !self.matches.is_empty() {
            let labels = host.endpoint.as_ref().map_or(&[][..], |endpoint| &endpoint.transport_labels);
            let fits = |wanted: &[(String, String)]| wanted.iter().all(|label| labels.contains(label));
            if let Some((_, transport)) = self.matches.iter().find(|(wanted, _)| fits(wanted)) {
                chosen = transport;
            }
        }
        chosen.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Whether they were built of what these secrets are now. What could not be built is tried again.
    pub(crate) fn is_of(&self, secrets: &Secrets) -> bool {
        self.all().all(|transport| match transport {
            Ok(Some(context)) => context.is_of(secrets),
            Ok(None) => true,
            Err(missing) => !matches!(missing, Missing::Tls(_)),
        })
    }
}
