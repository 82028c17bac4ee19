//! The task of one device: does what the plan says, and tells it how that went.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::messages::{
    DeviceStatus, ReportDeviceStatesRequest, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use causeway_dmi::{Code, ManagerClient, Status};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::plan::{Plan, Step, Taken};
use crate::spec::{DeviceSpec, Property, Value};
use crate::{Driver, DriverError, Protocol, State};

/// How long a device may take for one thing.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);

/// What all devices of a mapper share.
pub(crate) struct Shared<P> {
    pub(crate) protocol: P,
    pub(crate) node: ManagerClient,
    pub(crate) began: Instant,
}

/// Serves a device until its last description is dropped.
pub(crate) async fn serve<P: Protocol>(
    shared: Arc<Shared<P>>,
    mut specs: watch::Receiver<DeviceSpec>,
) {
    let spec = specs.borrow_and_update().clone();
    let now = shared.began.elapsed();
    let mut device = Device {
        plan: Plan::new(&spec, now),
        spec,
        driver: None,
        random: fastrand::Rng::new(),
        shared,
    };
    loop {
        match specs.has_changed() {
            Err(_) => return,
            Ok(true) => device.update(specs.borrow_and_update().clone()),
            Ok(false) => {}
        }
        let step = device.plan.next(device.now());
        if let Step::Wait { until } = step {
            tokio::select! {
                changed = specs.changed() => match changed {
                    Ok(()) => device.update(specs.borrow_and_update().clone()),
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(device.shared.began + until) => {}
            }
        } else {
            device.take(step).await;
        }
    }
}

struct Device<P: Protocol> {
    shared: Arc<Shared<P>>,
    spec: DeviceSpec,
    plan: Plan,
    /// There exactly while the plan has the device open.
    driver: Option<P::Driver>,
    random: fastrand::Rng,
}

impl<P: Protocol> Device<P> {
    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    fn update(&mut self, spec: DeviceSpec) {
        if self.plan.update(&spec, self.now()) {
            self.driver = None;
        }
        self.spec = spec;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Open => self.open().await,
            Step::Write { property, value } => self.write(property, value).await,
            Step::Read { property } => self.read(property).await,
            Step::Ask => {
                let asked = within(async { Ok(self.driver().state().await) }).await;
                let now = self.now();
                self.plan.asked(asked.unwrap_or(State::Offline), now);
            }
            Step::Report { values } => self.report(values).await,
            Step::ReportState { state } => self.report_state(state).await,
            Step::Wait { .. } => {}
        }
    }

    fn driver(&mut self) -> &mut P::Driver {
        let driver = self.driver.as_mut();
        driver.expect("the plan uses a device only while it is open")
    }

    async fn open(&mut self) {
        match within(self.shared.protocol.open(&self.spec)).await {
            Ok(driver) => {
                debug!(device = self.spec.name, "device opened");
                self.driver = Some(driver);
                self.plan.opened();
            }
            Err(error) => self.broke(&error),
        }
    }

    fn broke(&mut self, error: &DriverError) {
        warn!(device = self.spec.name, %error, "device failed; opening it again later");
        self.driver = None;
        let (now, jitter) = (self.now(), self.random.f64());
        self.plan.broke(now, jitter);
    }

    async fn write(&mut self, property: Property, value: Value) {
        let wrote = within(self.driver().write(&property, &value.value)).await;
        let now = self.now();
        match wrote {
            Ok(()) => self.plan.wrote(&property.name, value, now),
            Err(error) => {
                let (device, property) = (&self.spec.name, property.name);
                warn!(device, property, %error, "desired value not written");
                let jitter = self.random.f64();
                self.plan.refused(&property, now, jitter);
            }
        }
    }

    async fn read(&mut self, property: Property) {
        match within(self.driver().read(&property)).await {
            Ok(value) => {
                let now = self.now();
                self.plan.read(&property.name, value, now);
            }
            Err(error) => self.broke(&error),
        }
    }

    async fn report(&mut self, values: BTreeMap<String, Taken>) {
        let twins = values.iter().map(|(name, taken)| Twin {
            property_name: name.clone(),
            observed_desired: taken.observed.as_ref().map(|it| TwinProperty {
                value: it.value.clone(),
                metadata: it.metadata.clone(),
            }),
            reported: taken.value.as_ref().map(|value| TwinProperty {
                value: value.clone(),
                metadata: BTreeMap::from([("timestamp".to_owned(), unix_millis())]),
            }),
        });
        let request = ReportDeviceStatusRequest {
            device_name: self.spec.name.clone(),
            device_namespace: self.spec.namespace.clone(),
            reported_device: Some(DeviceStatus {
                twins: twins.collect(),
                ..DeviceStatus::default()
            }),
        };
        match self.shared.node.report_device_status(request).await {
            Ok(_) => self.plan.told(&values),
            Err(status) if self.may_pass(&status) => {}
            Err(status) => {
                warn!(device = self.spec.name, %status, "the node refused values");
                self.plan.told(&values);
            }
        }
    }

    async fn report_state(&mut self, state: State) {
        let request = ReportDeviceStatesRequest {
            device_name: self.spec.name.clone(),
            device_namespace: self.spec.namespace.clone(),
            state: state.as_str().to_owned(),
        };
        match self.shared.node.report_device_states(request).await {
            Ok(_) => self.plan.told_state(state),
            Err(status) if self.may_pass(&status) => {}
            Err(status) => {
                warn!(device = self.spec.name, %status, "the node refused a state");
                self.plan.told_state(state);
            }
        }
    }

    /// Whether the same call may pass later; it waits then.
    fn may_pass(&mut self, status: &Status) -> bool {
        if matches!(status.code(), Code::InvalidArgument | Code::NotFound) {
            return false;
        }
        debug!(device = self.spec.name, %status, "the node cannot be told now");
        let (now, jitter) = (self.now(), self.random.f64());
        self.plan.not_told(now, jitter);
        true
    }
}

/// A device that does not answer at all has failed.
async fn within<T>(asked: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
    let answered = tokio::time::timeout(DEVICE_TIMEOUT, asked).await;
    answered.unwrap_or_else(|_| {
        Err(DriverError::Device {
            what: format!("no answer within {DEVICE_TIMEOUT:?}"),
        })
    })
}

/// The time for people, as DMI's metadata has it.
fn unix_millis() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_millis().to_string()
}
