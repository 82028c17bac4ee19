//! A virtual thermostat: protocol `virtual`. A room that cools towards the outside, a heater, and a
//! regulator that switches it.
//!
//! | property | | |
//! |---|---|---|
//! | `temperature` | FLOAT, ReadOnly | of the room, in degrees Celsius, one decimal |
//! | `target` | FLOAT, ReadWrite | what the regulator aims at |
//! | `heating` | BOOLEAN, ReadOnly | whether the heater is on |
//!
//! Settings of the protocol, all optional: `outside` (degrees, 5), `start` (degrees, 18), `power`
//! (degrees that the heater can hold above the outside, 30), `inertia` (seconds until a difference
//! has fallen to 37 %, 60), `band` (degrees of hysteresis, 0.5).

mod room;
#[cfg(test)]
mod tests;

use tokio::time::Instant;

use crate::{DeviceSpec, Driver, DriverError, Property, Protocol, State};

pub use room::{Room, RoomSpec};

/// The protocol of virtual thermostats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thermostats;

/// A virtual thermostat that is open.
#[derive(Debug)]
pub struct Thermostat {
    room: Room,
    /// How far the room has been computed.
    at: Instant,
}

impl Protocol for Thermostats {
    type Driver = Thermostat;

    fn name(&self) -> &'static str {
        "virtual"
    }

    async fn open(&self, device: &DeviceSpec) -> Result<Thermostat, DriverError> {
        Ok(Thermostat {
            room: Room::new(RoomSpec::of(&device.settings)?),
            at: Instant::now(),
        })
    }
}

impl Thermostat {
    fn catch_up(&mut self) {
        let now = Instant::now();
        self.room.pass(now - self.at);
        self.at = now;
    }
}

impl Driver for Thermostat {
    async fn read(&mut self, property: &Property) -> Result<String, DriverError> {
        self.catch_up();
        match property.name.as_str() {
            "temperature" => Ok(format!("{:.1}", self.room.temperature())),
            "target" => Ok(format!("{:.1}", self.room.target())),
            "heating" => Ok(self.room.is_heating().to_string()),
            name => Err(DriverError::Property {
                name: name.to_owned(),
                what: "a thermostat has no such property",
            }),
        }
    }

    async fn write(&mut self, property: &Property, value: &str) -> Result<(), DriverError> {
        if property.name != "target" {
            return Err(DriverError::Property {
                name: property.name.clone(),
                what: "a thermostat can only be told its target, not this",
            });
        }
        let target = value.parse().ok().filter(|target: &f64| target.is_finite());
        let target = target.ok_or(DriverError::Value {
            what: "it is no number",
        })?;
        self.catch_up();
        self.room.aim(target);
        Ok(())
    }

    async fn state(&mut self) -> State {
        State::Online
    }
}
