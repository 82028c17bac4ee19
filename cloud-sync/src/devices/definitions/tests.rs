use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Catalog, Status};
use causeway_log::WallTime;
use causeway_projections::twin::{GROUP, VERSION};
use serde_json::{Value, json};

use crate::rig::Rig;

/// Decides a create as the API does, unknown fields being mistakes.
fn create(mut object: Value) -> Result<Value, Status> {
    let rig = Rig::new();
    let catalog = rig.machine.view().read(Catalog::of);
    object["apiVersion"] = json!(format!("{GROUP}/{VERSION}"));
    object["metadata"]["name"] = json!("oven");
    let kind = object["kind"].as_str().unwrap();
    let kind = catalog.find_kind(GROUP, VERSION, kind).unwrap();
    let context = Context {
        now: WallTime::from_unix_millis(1),
        uid: uuid::Uuid::from_u128(1),
        namespace: "default".to_owned(),
        name: String::new(),
        field_validation: FieldValidation::Strict,
    };
    prepare_create(kind, object, &context).map(|prepared| prepared.object)
}

/// All that users of KubeEdge may write, with the spellings that they have it in.
fn device() -> Value {
    json!({
        "kind": "Device",
        "spec": {
            "deviceModelRef": {"name": "heater"},
            "nodeName": "edge-1",
            "protocol": {"protocolName": "modbus", "configData": {
                "serialPort": "/dev/ttyS0", "baudRate": 9600, "deep": {"er": [1, true]}}},
            "properties": [{
                "name": "target",
                "desired": {"value": "20", "metadata": {"timestamp": "7"}},
                "visitors": {"protocolName": "modbus", "configData": {
                    "register": "HoldingRegister", "offset": 2, "scale": 0.1, "isSwap": true}},
                "reportCycle": 10_000_000_000_u64,
                "collectCycle": 1000,
                "reportToCloud": true,
                "pushMethod": {
                    "http": {"hostName": "h", "port": 80, "requestPath": "/", "timeout": 5},
                    "mqtt": {"address": "tcp://h:1883", "topic": "t", "qos": 1, "retained": true},
                    "otel": {"endpointURL": "http://h"},
                    "dbMethod": {
                        "influxdb2": {
                            "influxdb2ClientConfig": {"url": "u", "org": "o", "bucket": "b"},
                            "influxdb2DataConfig": {
                                "measurement": "m", "tag": {"unit": "C"}, "fieldKey": "f"}},
                        "redis": {"redisClientConfig": {
                            "addr": "a", "db": 0, "poolsize": 1, "minIdleConns": 1}},
                        "TDEngine": {"TDEngineClientConfig": {"addr": "a", "dbName": "d"}},
                        "mysql": {"mysqlClientConfig": {
                            "addr": "a", "database": "d", "userName": "u"}}},
                    "anomalyDetection": {"any": {"thing": 1}}},
            }],
            "methods": [{"name": "set", "description": "d", "propertyNames": ["target"]}],
            "stateReport": {"reportToCloud": true, "reportCycle": 1000},
        },
        "status": {"reportToCloud": true, "reportCycle": 1000},
    })
}

#[test]
fn manifests_are_taken_as_they_are() {
    let model = json!({
        "kind": "DeviceModel",
        "spec": {
            "protocol": "modbus",
            "protocolConfigData": {"baudRate": 9600},
            "properties": [{
                "name": "target", "description": "d", "type": "DOUBLE", "accessMode": "ReadWrite",
                "minimum": "1", "maximum": "9", "unit": "C",
                "visitors": {"protocolName": "modbus", "configData": {"offset": 2}}}],
        },
    });
    let value = json!({"value": "20", "metadata": {"timestamp": "7", "type": "string"}});
    let status = json!({
        "kind": "DeviceStatus",
        "spec": {},
        "status": {
            "twins": [{"propertyName": "target", "reported": value, "observedDesired": value}],
            "state": "online",
            "lastOnlineTime": "2026-01-01T00:00:00Z",
            "extensions": {"firmware": {"version": 3}},
        },
    });
    for object in [device(), model, status] {
        let made = create(object.clone()).unwrap();
        for part in ["spec", "status"] {
            assert_eq!(made.get(part), object.get(part), "{}", object["kind"]);
        }
    }
}

#[test]
fn mistakes_are_told_by_their_fields() {
    let wrong = |at: &str, value: Value| {
        let mut device = device();
        *device.pointer_mut(at).unwrap() = value;
        create(device).unwrap_err().message
    };
    let cases = [
        (
            "/spec/properties/0/name",
            json!("a b"),
            "spec.properties[0].name",
        ),
        (
            "/spec/properties/0/collectCycle",
            json!(-1),
            "spec.properties[0].collectCycle",
        ),
        (
            "/spec/properties/0/desired/value",
            json!(20),
            "spec.properties[0].desired.value",
        ),
        (
            "/spec/properties/0/pushMethod/mqtt/qos",
            json!(3),
            "pushMethod.mqtt.qos",
        ),
        ("/spec/nodeName", json!(["edge-1"]), "spec.nodeName"),
    ];
    for (at, value, field) in cases {
        let said = wrong(at, value);
        assert!(said.contains(field), "{field}: {said}");
    }
    let mut twice = device();
    let property = twice["spec"]["properties"][0].clone();
    twice["spec"]["properties"] = json!([property, property]);
    let said = create(twice).unwrap_err().message;
    assert!(said.contains("spec.properties[1]"), "{said}");

    let property = json!({"name": "t", "type": "DECIMAL", "accessMode": "WriteOnly"});
    let model = json!({"kind": "DeviceModel", "spec": {"properties": [property]}});
    let said = create(model).unwrap_err().message;
    for field in ["spec.properties[0].type", "spec.properties[0].accessMode"] {
        assert!(said.contains(field), "{field}: {said}");
    }
}
