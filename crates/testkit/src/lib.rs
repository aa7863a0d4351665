//! For tests alone: scripted origin servers and clients that send and see raw bytes.
//! Never a normal dependency of anything.

pub mod chance;
pub mod client;
pub mod dns;
pub mod echo;
pub mod envoy;
pub mod files;
pub mod load;
pub mod origin;
pub mod port;
pub mod tls;
pub mod trouble;
pub mod xds;
