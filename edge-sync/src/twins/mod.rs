//! The twins of this node's devices: who reports and who wants to know.
//!
//! ```text
//!   bus, DMI ──report──▶ machine: decide ─▶ Twin record, readings ─▶ durable ─▶ view ─▶ Told
//!            ──wish────▶ machine: a request on the Device, pending until the cloud answers
//!            ◀─subscribe── view: changed_after, gone_after
//! ```

mod decide;
mod drain;
mod error;
mod history;
mod stats;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::metrics::Metrics;
use causeway_daemon::tasks::{self, Stop, Task};
use causeway_kube_api::View;
use causeway_kube_api::source::system_clock;
use causeway_log::Revision;
use causeway_log::writer::WriterHandle;
use causeway_projections::twin::{Device, DeviceName, Refused, Report, Took, Twins, Value};
use tokio::sync::{oneshot, watch};

pub(crate) use decide::{Moment, Outcome, Samplers, Working};
pub use error::ReportError;
pub(crate) use history::{Backlog, Delta};
pub use view::TwinsView;

use crate::machine::Request;

/// Where reports go in and twins are read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TwinsHandle {
    view: TwinsView,
    objects: View,
    writer: WriterHandle<Request>,
}

/// What a device, or its mapper, says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceReport {
    /// Which device.
    pub device: DeviceName,
    /// Its properties, in this order.
    pub properties: Vec<(Arc<str>, Report)>,
    /// How it is, when it says so.
    pub state: Option<Arc<str>>,
    /// Whether nobody can say how the device is, when its node says so: it shows as `unknown` until
    /// somebody can.
    pub doubt: Option<bool>,
    /// Whether one property that is refused refuses the report.
    pub all_or_nothing: bool,
}

/// What became of a report. Both twins are durable.
#[derive(Clone, Debug)]
pub struct Told {
    /// The device before the writes that the report was part of; others may be in between.
    pub before: Arc<Device>,
    /// The device after them.
    pub after: Arc<Device>,
    /// Each property of the report, in its order.
    pub properties: Vec<(Arc<str>, Result<Took, Refused>)>,
    /// The state, when the report had one.
    pub state: Option<Result<Took, Refused>>,
}

/// A report on its way.
#[derive(Debug)]
pub struct HandedIn {
    told: oneshot::Receiver<Result<Told, ReportError>>,
}

impl HandedIn {
    /// As [`TwinsHandle::report`].
    ///
    /// # Errors
    /// [`ReportError`]; nothing of the report was taken.
    pub async fn told(self) -> Result<Told, ReportError> {
        self.told
            .await
            .unwrap_or_else(|_| Err(ReportError::stopping()))
    }
}

/// A wish that is durable and waits for the cloud's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The revision of the Device with it.
    pub revision: Revision,
    /// Whether the cloud has yet to answer; it has not to when nothing would change.
    pub is_pending: bool,
}

impl TwinsHandle {
    /// What is served by `view` and `objects` and written by `writer`.
    #[must_use]
    pub const fn new(view: TwinsView, objects: View, writer: WriterHandle<Request>) -> Self {
        Self {
            view,
            objects,
            writer,
        }
    }

    /// Counts what happens for `metrics`, and sends kept readings on in time.
    pub(crate) fn start(&self, metrics: &Metrics, stop: Stop) -> Task {
        metrics.register(|registry| registry.register_collector(Box::new(self.view.clone())));
        let drain = drain::drain(self.view.due(), self.writer.clone(), system_clock(), stop);
        tasks::spawn("twins-history", drain)
    }

    /// Reads under the shared lock. `read` must be short: it holds up the writer.
    pub fn read<R>(&self, read: impl FnOnce(&Twins) -> R) -> R {
        self.view.read(read)
    }

    /// The durable revision of the twins, now and whenever one of them changed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.view.subscribe()
    }

    /// Hands a report in. Resolves when what it changed is durable, and at once with the round
    /// when it changed nothing.
    ///
    /// # Errors
    /// [`ReportError`]; nothing of the report was taken.
    pub async fn report(&self, report: DeviceReport) -> Result<Told, ReportError> {
        self.hand_in(report).await?.told().await
    }

    /// Hands a report in, and does not wait for what becomes of it. Whoever hands in the next one
    /// after this resolved has the two in order.
    ///
    /// # Errors
    /// [`ReportError::Unavailable`] when the edge is stopping.
    pub async fn hand_in(&self, report: DeviceReport) -> Result<HandedIn, ReportError> {
        let (done, told) = oneshot::channel();
        let report = Box::new(report);
        let sent = self.writer.send(Request::Twin { report, done }).await;
        sent.map_err(|_| ReportError::stopping())?;
        Ok(HandedIn { told })
    }

    /// Wants other values of a device's properties; `None` wants nothing of one any more. It is a
    /// request to the cloud: resolves when it is durable, and visible as pending on the Device.
    ///
    /// # Errors
    /// [`ReportError`]; nothing was asked.
    pub async fn wish(
        &self,
        device: &DeviceName,
        wishes: BTreeMap<Arc<str>, Option<Value>>,
    ) -> Result<Pending, ReportError> {
        let known = self.read(|twins| twins.get(device).cloned());
        let known = known.ok_or_else(|| ReportError::Unknown {
            device: device.clone(),
        })?;
        decide::check_wishes(&known, &wishes)?;
        for _ in 0..WISH_ATTEMPTS_MAX {
            let write = self.objects.read(|objects| {
                let key = &known.key;
                let entry = objects.get(&key.resource, &key.namespace, &key.name);
                decide::wish(&known, entry, &wishes)
            })?;
            match crate::api::commit(&self.writer, write).await {
                Ok(written) => {
                    return Ok(Pending {
                        revision: written.revision,
                        is_pending: written.pending,
                    });
                }
                Err(causeway_kube_api::WriteError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReportError::Unavailable {
            reason: "the Device keeps changing".to_owned(),
        })
    }
}

/// A Device that changes under a wish is looked at again so often.
const WISH_ATTEMPTS_MAX: usize = 16;
