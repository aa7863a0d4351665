//! Pieces of `amime explain` that need no configuration.
