//! `amime explain` beside its engine (`amime_model::explain`): where configurations and requests are read from, and how
//! answers are printed. `cmd::explain` calls it.

pub(crate) mod access_log;
pub(crate) mod diagram;
pub(crate) mod human;
pub(crate) mod mermaid;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod sources;

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
