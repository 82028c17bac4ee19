//! Integration tests of the REST server.
