//! What a hostile client may send to the edge, one case a line with its outcome: refused with a status, closed, or
//! passed on as the one message that it is. Behind the proxy is a server that takes nothing malformed.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod floods;
mod http1;
mod http2;
mod recorder;
