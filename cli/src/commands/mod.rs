//! One file a command.

pub(crate) mod cloud;
pub(crate) mod completions;
pub(crate) mod digest;
pub(crate) mod edge;
pub(crate) mod edged;
pub(crate) mod get;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod status;
pub(crate) mod twin;

mod parent;
