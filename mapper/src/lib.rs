//! Mappers: programs that speak a device's own protocol on one side and DMI on the other.
//!
//! ```text
//!   node ◀── values, states ── mapper ◀── read ── device
//!   node ──── devices, wishes ──▶ mapper ── write ──▶ device
//! ```
//!
//! A protocol implements [`Protocol`] and [`Driver`]: how a device is opened, a property read or
//! written, and how the device is. [`run()`] does the rest: it registers with the node, keeps one
//! task for each device, reads at the collect cycles, reports, and writes what is desired until the
//! device says it is so. A node that is away is called again, with the latest values; a device
//! that fails is opened again; neither stops the others.
//!
//! [`thermostat`] is such a protocol: a room with a heater that exists only in memory.

mod device;
mod plan;
mod registry;
mod run;
mod spec;
pub mod thermostat;

pub use plan::{Plan, Step, Taken};
pub use run::{Config, RunError, run};
pub use spec::{DeviceSpec, Property, Settings, Value};

use std::future::Future;
use std::time::Duration;

/// How often a property is read when the device does not say: KubeEdge's mappers have the same.
pub const COLLECT_CYCLE_DEFAULT: Duration = Duration::from_secs(1);
/// The shortest cycle: a device that asks for less is read this often.
pub const COLLECT_CYCLE_MIN: Duration = Duration::from_millis(10);
/// Devices that one mapper serves; further ones are refused.
pub const DEVICES_MAX: usize = 4096;
/// How long a node may take to answer.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// A device's own protocol.
pub trait Protocol: Send + Sync + 'static {
    /// An open device.
    type Driver: Driver;

    /// The name by which devices ask for it: `spec.protocol.protocolName`.
    fn name(&self) -> &'static str;

    /// Opens a device. Called again with growing waits while it fails.
    ///
    /// # Errors
    /// [`DriverError`] says what the device or its settings lack.
    fn open(
        &self,
        device: &DeviceSpec,
    ) -> impl Future<Output = Result<Self::Driver, DriverError>> + Send;
}

/// An open device. Dropping it closes it.
pub trait Driver: Send + 'static {
    /// What a property is.
    ///
    /// # Errors
    /// [`DriverError`]; after one the device is opened anew.
    fn read(
        &mut self,
        property: &Property,
    ) -> impl Future<Output = Result<String, DriverError>> + Send;

    /// Makes a property be `value`. May be called again with the same value.
    ///
    /// # Errors
    /// [`DriverError`]; it is tried again with growing waits.
    fn write(
        &mut self,
        property: &Property,
        value: &str,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// How the device is.
    fn state(&mut self) -> impl Future<Output = State> + Send;
}

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Online,
    /// It cannot be reached.
    Offline,
    /// It answers, and says that something is wrong.
    Unhealthy,
}

impl State {
    /// The word for it in the Device API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A device, or what is asked of it, fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A setting is missing or makes no sense.
    #[error("setting {name}: {what}")]
    Setting {
        /// Which one.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The protocol has no such property, or it cannot be written.
    #[error("{what}: {name}")]
    Property {
        /// Which one.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The value cannot be written.
    #[error("the value cannot be written: {what}")]
    Value {
        /// Why.
        what: &'static str,
    },
    /// The device does not answer as it should.
    #[error("the device failed: {what}")]
    Device {
        /// How.
        what: String,
    },
}
