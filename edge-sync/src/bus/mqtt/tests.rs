//! Tests of packets and topics.
