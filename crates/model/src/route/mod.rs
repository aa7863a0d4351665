//! The matcher: which listener, filter chain, virtual host and route take a connection or request, and
//! what is then done with it, as values.
//!
//! The proxy runs on it and `explain`, `test`, `diff` and `check` ask it, so that they cannot disagree.
//! `RouteTable` is a compiled `config::RouteConfig`; `select` finds the route, `Selection::decide` says what
//! to do. Random draws are inputs: the proxy draws them, `explain` enumerates.

pub mod cors;
pub mod cover;
pub mod decide;
pub mod edits;
pub mod hash;
pub mod listener;
pub mod matcher;
pub mod normalize;
pub mod regex;
pub mod request;
pub mod rewrite;
pub mod table;
pub mod template;
pub mod witness;

pub use decide::{Decision, Forwarding, Outcome, Respond};
pub use matcher::Miss;
pub use request::{Draws, RequestView};
pub use table::{CompileError, CompiledRoute, CompiledVirtualHost, RouteTable, Selection};

#[cfg(test)]
mod plain_tests;
