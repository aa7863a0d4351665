//! Two configurations compared (`cmd::diff`): where they are read from, and how the difference is printed. What differs
//! is found by `amime_model::diff`.

mod markdown;
pub(crate) mod print;
pub(crate) mod sides;
mod text;
mod words;

pub(crate) use print::Output;
