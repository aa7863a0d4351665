//! The pure part of Amime: what users write, the snapshot, its translation, and the matcher.
//!
//! No I/O, no clock, no randomness: `control`, `proxy` and the binary's tools call it.

pub mod access_log;
pub mod analyze;
pub mod config;
pub mod conflict;
pub mod diagnostic;
pub mod diff;
pub mod explain;
pub mod fix;
pub mod host;
pub mod mesh_test;
pub mod protocol;
pub mod resource;
pub mod route;
pub mod rule;
pub mod snapshot;
pub mod translate;
pub mod workload;
pub mod yaml;
