//! The room: Newton's law of cooling, a heater, and a regulator with hysteresis. Pure.

use std::time::Duration;

use crate::{DriverError, Settings};

/// The longest step that is computed in one go: the regulator looks this often.
const STEP: Duration = Duration::from_millis(500);
/// After so long a time everything is where it will be; more of it need not be computed.
const PASS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a room is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoomSpec {
    /// Degrees outside.
    pub outside: f64,
    /// Degrees inside, to begin with.
    pub start: f64,
    /// Degrees that the heater can hold above the outside.
    pub power: f64,
    /// Until a difference has fallen to 37 %, in seconds.
    pub inertia: f64,
    /// Degrees between switching on and switching off.
    pub band: f64,
}

impl RoomSpec {
    /// Reads the settings of a device.
    ///
    /// # Errors
    /// [`DriverError::Setting`] for one that is no number, or an inertia or band that is not
    /// positive.
    pub fn of(settings: &Settings) -> Result<Self, DriverError> {
        let number = |name: &str, default: f64| Ok(settings.number(name)?.unwrap_or(default));
        let positive = |name: &str, default: f64| match number(name, default)? {
            number if number > 0.0 => Ok(number),
            _ => Err(DriverError::Setting {
                name: name.to_owned(),
                what: "must be more than 0",
            }),
        };
        Ok(Self {
            outside: number("outside", 5.0)?,
            start: number("start", 18.0)?,
            power: positive("power", 30.0)?,
            inertia: positive("inertia", 60.0)?,
            band: positive("band", 0.5)?,
        })
    }
}

/// A room with a heater and a regulator.
#[derive(Clone, Debug)]
pub struct Room {
    spec: RoomSpec,
    temperature: f64,
    target: f64,
    is_heating: bool,
}

impl Room {
    /// A room that aims at the temperature it has.
    #[must_use]
    pub const fn new(spec: RoomSpec) -> Self {
        Self {
            temperature: spec.start,
            target: spec.start,
            is_heating: false,
            spec,
        }
    }

    /// Sets what the regulator aims at.
    pub const fn aim(&mut self, target: f64) {
        self.target = target;
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let mut left = time.min(PASS_MAX);
        while !left.is_zero() {
            let step = left.min(STEP);
            self.regulate();
            let heat = if self.is_heating {
                self.spec.power
            } else {
                0.0
            };
            let equilibrium = self.spec.outside + heat;
            // The exact solution over the step, so that long steps stay stable.
            let kept = (-step.as_secs_f64() / self.spec.inertia).exp();
            self.temperature = equilibrium + (self.temperature - equilibrium) * kept;
            left -= step;
        }
        self.regulate();
    }

    fn regulate(&mut self) {
        let half = self.spec.band / 2.0;
        if self.temperature <= self.target - half {
            self.is_heating = true;
        } else if self.temperature >= self.target + half {
            self.is_heating = false;
        }
    }

    /// Degrees inside.
    #[must_use]
    pub const fn temperature(&self) -> f64 {
        self.temperature
    }

    /// What the regulator aims at.
    #[must_use]
    pub const fn target(&self) -> f64 {
        self.target
    }

    /// Whether the heater is on.
    #[must_use]
    pub const fn is_heating(&self) -> bool {
        self.is_heating
    }
}
