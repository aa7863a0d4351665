//! The control plane: reads what users write, keeps the snapshot, and serves it to proxies.
//!
//! The binary starts it (`up`, `control`); proxies meet it over ADS only.

pub mod distribute;
pub mod engine;
pub mod listen;
mod mesh_file;
pub mod source;
pub mod state;
pub mod tls;

pub use distribute::{Distributor, ProxyStatus};
pub use engine::{EngineOptions, Generation};
