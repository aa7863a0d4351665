//! Looking at what proxies were told: `amime config` and `amime status`. Both fetch debug pages (of a control
//! plane, a proxy, any Envoy) or read a saved dump; each kind of resource has its table in a file of its own.

pub(crate) mod clusters;
pub(crate) mod difference;
pub(crate) mod endpoints;
pub(crate) mod fetch;
pub(crate) mod listeners;
pub(crate) mod output;
pub(crate) mod routes;
pub(crate) mod secrets;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod view;
mod yaml;

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
