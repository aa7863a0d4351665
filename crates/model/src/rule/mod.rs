//! What a rule of a VirtualService means, as far as no proxy is needed for it: matches, header edits, faults, CORS,
//! rewrites, redirects, answers, retries. And whether it can be carried out at all.
//!
//! `translate` makes routes of it; `snapshot` asks whether a rule is sound.

pub mod check;
pub mod edits;
pub mod filters;
pub mod matches;
pub mod retry;
pub mod target;
