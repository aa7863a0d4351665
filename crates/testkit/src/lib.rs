//! For tests alone: scripted origin servers and clients that send and see raw bytes.
//! Never a normal dependency of anything.

pub mod client;
pub mod envoy;
pub mod origin;
pub mod xds;
