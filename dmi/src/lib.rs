//! The Device Mapper Interface (DMI) v1beta1: how an edge node and its mappers talk.
//!
//! ```text
//!   mapper ── MapperRegister, ReportDeviceStatus, ReportDeviceStates ──▶ DeviceManagerService (node)
//!   node ── RegisterDevice, UpdateDevice, RemoveDevice, … ─────────────▶ DeviceMapperService (mapper)
//! ```
//!
//! gRPC over Unix sockets, each side listening on its own. Messages and services are KubeEdge's, so
//! that its mappers work unchanged; they are written by hand, no compiler is needed to build.
//!
//! [`convert`] makes the messages of the Device API's objects. [`server`] and [`client`] are thin:
//! the meaning of a call is its implementor's.

mod authority;
mod backoff;
pub mod client;
pub mod convert;
mod door;
pub mod messages;
pub mod server;
#[cfg(test)]
mod tests;

pub use backoff::{BACKOFF_MAX, BACKOFF_MIN, Backoff};
pub use client::{DialError, ManagerClient, MapperClient};
pub use door::Door;
pub use server::{DeviceManager, DeviceMapper, serve_manager, serve_mapper};
/// The outcome of a call that failed, and its code.
pub use tonic::{Code, Status};

/// Longest message taken: a device has at most 1024 properties with values of 4 KiB.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls that are served at a time on one connection; others wait.
pub const CALLS_MAX: usize = 64;
/// Connections that are served at a time; others wait.
pub const CONNECTIONS_MAX: usize = 64;

/// Names of the services and calls on the wire.
mod path {
    macro_rules! paths {
        ($service:literal: $($name:ident = $call:literal),* $(,)?) => {
            $(pub(crate) const $name: &str = concat!("/v1beta1.", $service, "/", $call);)*
        };
    }
    paths!("DeviceManagerService":
        MAPPER_REGISTER = "MapperRegister",
        REPORT_DEVICE_STATUS = "ReportDeviceStatus",
        REPORT_DEVICE_STATES = "ReportDeviceStates",
    );
    paths!("DeviceMapperService":
        REGISTER_DEVICE = "RegisterDevice",
        REMOVE_DEVICE = "RemoveDevice",
        UPDATE_DEVICE = "UpdateDevice",
        CREATE_DEVICE_MODEL = "CreateDeviceModel",
        REMOVE_DEVICE_MODEL = "RemoveDeviceModel",
        UPDATE_DEVICE_MODEL = "UpdateDeviceModel",
        GET_DEVICE = "GetDevice",
    );
}
