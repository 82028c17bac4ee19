//! Reports of devices.

mod history;
mod measure;
mod reports;
mod storm;

use causeway_projections::twin::history::{Chunk, readings};
use causeway_projections::twin::{
    Device, DeviceName, Refused, Report, Reported, Took, TwinVersion, Value as TwinValue,
    ValueError, devices, models, statuses,
};

use super::*;

type ReportAnswer = oneshot::Receiver<Result<Told, ReportError>>;

fn device_key(name: &str, uid: u64) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(8, uid));
    Key::new(devices(), "default", name, uid).unwrap()
}

fn named(name: &str) -> DeviceName {
    DeviceName::new("default", name)
}

/// A thermostat of this node that keeps all of its temperatures.
fn device(name: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"causeway.dev/history": "temperature=all"},
        },
        "spec": {
            "nodeName": "edge-1",
            "deviceModelRef": {"name": "thermostat"},
            "properties": [
                {"name": "target", "desired": {"value": "20"}},
                {"name": "temperature"},
            ],
        },
    })
}

fn model() -> Value {
    json!({"spec": {"properties": [
        {"name": "target", "type": "FLOAT", "minimum": "5", "maximum": "30"},
        {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly"},
    ]}})
}

fn says(value: &str) -> Report {
    Report {
        value: Some(TwinValue::new(value)),
        time: WallTime::from_unix_millis(1000),
        ..Report::default()
    }
}

fn report_of(device: &str, properties: &[(&str, Report)]) -> DeviceReport {
    DeviceReport {
        device: named(device),
        properties: properties
            .iter()
            .map(|(name, report)| ((*name).into(), report.clone()))
            .collect(),
        ..DeviceReport::default()
    }
}

fn reporting(report: DeviceReport) -> (Request, ReportAnswer) {
    let (done, told) = oneshot::channel();
    let report = Box::new(report);
    (Request::Twin { report, done }, told)
}

impl Bench {
    fn with_device(name: &str) -> Self {
        let mut bench = Self::new();
        bench.desire(&device_key(name, 1), Op::Put, &device(name), None);
        bench
    }

    fn with_model(name: &str) -> Self {
        let mut bench = Self::with_device(name);
        let key = Key {
            resource: models(),
            ..device_key("thermostat", 9)
        };
        bench.desire(&key, Op::Put, &model(), None);
        bench
    }

    fn report(&mut self, report: DeviceReport) -> Result<Told, ReportError> {
        let (request, mut told) = reporting(report);
        assert!(self.round([request]).is_none());
        told.try_recv().unwrap()
    }

    /// What became of the report of one property.
    fn say(&mut self, device: &str, property: &str, report: Report) -> Result<Took, Refused> {
        let told = self.report(report_of(device, &[(property, report)]));
        told.unwrap().properties.remove(0).1
    }

    fn device(&self, name: &str) -> Option<Arc<Device>> {
        self.twins.read(|twins| twins.get(&named(name)).cloned())
    }

    fn ops(&self) -> Vec<Op> {
        let records = self.up_records();
        records.iter().map(|it| it.record.header.op).collect()
    }

    fn chunks(&self) -> Vec<(Key, Chunk)> {
        let facts = self.up_records().into_iter();
        let facts = facts.filter(|it| it.record.header.op == Op::Fact);
        facts
            .map(|it| {
                assert_eq!(it.record.header.key.resource, readings());
                let chunk = Chunk::decode(it.record.body.bytes()).unwrap();
                (it.record.header.key, chunk)
            })
            .collect()
    }

    fn ack(&mut self) {
        let upto = self.info(&up()).durable;
        let (request, mut told) = session(SessionWrite::Acked { upto });
        self.round([request]);
        drop(told.try_recv().unwrap());
    }

    fn drain(&mut self) {
        let (done, mut told) = oneshot::channel();
        self.round([Request::Drain { done }]);
        told.try_recv().unwrap();
    }

    fn restart(&mut self, config: TwinsConfig) {
        let disk = self.store.disk().clone();
        disk.crash();
        disk.heal();
        *self = Self::on(&disk, config);
    }

    /// The number of a scrape.
    fn metric(&self, name: &str) -> u64 {
        let metrics = causeway_daemon::metrics::Metrics::new();
        let view = self.twins.clone();
        metrics.register(|registry| registry.register_collector(Box::new(view)));
        let text = metrics.encode();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let value = lines
            .filter_map(|line| line.strip_prefix("causeway_")?.split_once(' '))
            .find(|(found, _)| found.trim_end_matches("_total") == name);
        value.unwrap().1.parse().unwrap()
    }
}
