//! Tests of the bus without a network.
