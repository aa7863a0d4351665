//! TLS of the proxy's own connections: what clients speak to listeners (`server`), and what it speaks to endpoints
//! (`client`), with the certificates of the configuration's secrets and of files (`secrets`).
//!
//! `runtime` builds contexts for listeners, `cluster` those for endpoints; `listen` and `connect` run handshakes.

pub(crate) mod client;
mod files;
mod parameters;
mod san;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod stream;
mod verify;
