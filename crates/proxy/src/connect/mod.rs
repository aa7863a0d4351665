//! Connections to endpoints: dialling, and each worker's own pools of them.
//!
//! The request path borrows connections from a `pool::HostPool`; the TCP proxy dials.

mod agreed;
pub(crate) mod dial;
pub(crate) mod dns;
pub(crate) mod dynamic;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod names;
pub(crate) mod pool;
pub(crate) mod private;
pub(crate) mod proxy_header;
pub(crate) mod transports;
pub(crate) mod upstream_io;
