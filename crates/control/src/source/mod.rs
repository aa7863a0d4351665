//! Where objects come from. Files for now; `engine` reads a source and is told of its changes.

pub mod files;
pub mod listing;
mod watch;

pub use files::Files;
pub use listing::{Input, SourceError};
pub use watch::Watch;
