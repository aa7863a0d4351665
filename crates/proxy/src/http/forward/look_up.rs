//! Requests to dynamic clusters: what their name stands for is looked up first.

use super::{Failed, Job, race};
use crate::connect::dynamic::Unresolved;
use crate::connect::pool::SendError;
use crate::http::body::ResponseBody;
use crate::http::respond::Own;
use amime_model::config::Discovery;
use amime_model::route::table::without_port;
use http::Response;
use std::net::SocketAddr;

impl Job<'_> {
    /// Finds the addresses of the request's name. As in Envoy, the port is the one that the client names, else the
    /// usual one.
    ///
    /// # Errors
    /// The answer instead.
    pub(super) async fn look_up(&mut self) -> Result<(), Response<ResponseBody>> {
        let config = self.cluster.config.clone();
        let Discovery::DynamicDns(cache) = &config.discovery else { return Ok(()) };
        let authority = self.authority.clone();
        let authority = authority.to_str().unwrap_or_default();
        let host = without_port(authority);
        let port = authority[host.len()..].strip_prefix(':').and_then(|port| port.parse().ok());
        let port = port.unwrap_or(if config.tls.is_some() { 443 } else { 80 });
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let names = self.exchange.conn.proxy.shared.dynamic.clone();
        let asking = Box::pin(async move { Ok::<_, SendError>(names.addresses(cache, host).await) });
        match race(asking, &mut self.deadline, self.exchange).await {
            Ok(Ok(addresses)) => {
                self.looked_up = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
                Ok(())
            }
            Ok(Err(Unresolved::NoAddress)) => Err(self.own(Own::no_name())),
            Ok(Err(Unresolved::TooMany)) => Err(self.own(Own::too_many_names())),
            Err(Failed::Expired(expired)) => Err(self.expired(expired)),
            Err(Failed::Reset { reset, .. }) => Err(self.own(self.reset_answer(reset))),
        }
    }
}
