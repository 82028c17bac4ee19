//! The whole cloud service in this process: real sockets, a real store, real edges.

mod fault;
mod road;
mod site;
