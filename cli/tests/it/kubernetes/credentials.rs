//! Ways in that do not lead in, and another cluster at the same address.
