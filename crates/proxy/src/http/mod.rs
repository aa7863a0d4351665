//! HTTP: connections from clients, the life of a request, and what is answered. hyper's types stop here and
//! in `connect`.

mod authority;
mod bodies;
pub(crate) mod body;
mod conn_state;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod format;
mod forward;
mod h1_io;
mod h2_guard;
mod handle;
pub(crate) mod local_exec;
pub(crate) mod messages;
mod mirror;
pub(crate) mod outgoing;
mod prepare;
mod respond;
mod retry;
mod steering;
mod time_limits;
mod upgrade;
pub(crate) mod wire;
