//! Listening: sockets, listener filters, and which filter chain a connection is given to.

pub(crate) mod accept;
mod filters;
mod proxy_header;
mod sniff;
pub(crate) mod socket;
pub(crate) mod stream;
