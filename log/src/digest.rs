//! Digests of a stream's state: what two sides compare instead of sending everything.

use crate::body::Body;
use crate::key::Key;
use crate::record::{Record, Slot};
