//! An API server that is away, slow, refuses, or has forgotten: nothing is lost.
