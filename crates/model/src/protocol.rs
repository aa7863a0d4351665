//! The protocol of a port: how Istio reads it from names and `appProtocol`, and what follows from it.
//!
//! `snapshot` gives every service port one; `translate` builds listeners and clusters by it.

/// A port's protocol. `Unspecified` ports are detected by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Http,
    Http2,
    HttpProxy,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Mongo,
    Redis,
    MySql,
    Udp,
    Unspecified,
}

/// What kind of listener a protocol needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerProtocol {
    Http,
    Tcp,
    /// Detected: HTTP and TCP chains side by side.
    Auto,
    /// None is made.
    Other,
}

/// Ports whose servers speak first, so that detection would break them.
const SERVER_FIRST: [u32; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// As Gateways, Sidecars and ServiceEntries write it, in any case.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "http_proxy" => Self::HttpProxy,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            _ => Self::Unspecified,
        }
    }

    /// Of a Kubernetes Service's port: `appProtocol` before the name's first word.
    pub fn of_service_port(port: u32, name: &str, transport: &str, app_protocol: Option<&str>) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        let word = match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(word) => word,
            None => name,
        };
        if word.get(..8).is_some_and(|w| w.eq_ignore_ascii_case("grpc-web")) {
            return Self::GrpcWeb;
        }
        match Self::parse(word.split('-').next().unwrap_or(word)) {
            Self::Unspecified if SERVER_FIRST.contains(&port) => Self::Tcp,
            protocol => protocol,
        }
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::HttpProxy | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP by name, or possibly by detection.
    pub fn may_be_http(self) -> bool {
        self.is_http() || self == Self::Unspecified
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Https | Self::Tls | Self::Mongo | Self::Redis | Self::MySql)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Mongo and MySQL servers speak first: nothing may be detected on their ports.
    pub fn is_server_first(self) -> bool {
        matches!(self, Self::Mongo | Self::MySql)
    }

    pub fn listener(self) -> ListenerProtocol {
        if self.is_http() {
            ListenerProtocol::Http
        } else if self.is_tcp() {
            ListenerProtocol::Tcp
        } else if self == Self::Udp {
            ListenerProtocol::Other
        } else {
            ListenerProtocol::Auto
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn names_and_app_protocols() {
        let of = Protocol::of_service_port;
        assert_eq!(of(80, "http-main", "TCP", None), Protocol::Http);
        assert_eq!(of(80, "grpc-web-x", "TCP", None), Protocol::GrpcWeb);
        assert_eq!(of(80, "http", "TCP", Some("tcp")), Protocol::Tcp);
        assert_eq!(of(80, "", "TCP", None), Protocol::Unspecified);
        assert_eq!(of(3306, "db", "TCP", None), Protocol::Tcp);
        assert_eq!(of(53, "http", "UDP", None), Protocol::Udp);
    }
}
