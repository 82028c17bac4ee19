//! Bytes that KubeEdge's side would send: made by another implementation of protocol buffers from
//! the same messages, maps of one entry so that there is one encoding.

mod authority;
mod backoff;

use prost::Message;
use serde_json::{Value, json};

use crate::convert;
use crate::messages::{
    Device, DeviceCommand, DeviceMessage, DeviceStatus, MapperInfo, MapperRegisterRequest,
    MapperRegisterResponse, NameMessage, ReportDeviceStatesRequest, ReportDeviceStatusRequest,
    Twin, TwinProperty,
};

const REGISTER: &str =
    "080112240a016d1201311a077631626574613122066d6f646275732a072f6d2e736f636b32026f6b";
const REPORT: &str =
    "0a017412240a1d0a017012030a01311a130a0132120e0a0974696d657374616d70120133100118e8071a016e";
const STATES: &str = "0a017412016e1a026f6b";
const DEVICE: &str = "0aeb020a017412dc020a016d12490a066d6f64627573123f0a3d0a05736c61766512340a2e747970652e676f\
     6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e496e74363456616c7565120208071a\
     fd010a017012040a0232301a4c0a066d6f6462757312420a400a057363616c6512370a2e747970652e676f6f\
     676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e466c6f617456616c756512050d000000\
     3f2001280230013a9d010a0a0a016810501a012f2009120a0a0161120174180120011a410a1b0a090a017512\
     016f1a0162120e0a016d12060a016b1201761a0166120b0a090a01611001180220031a080a060a0161120164\
     220b0a090a01611201641a017522030a016f2a3b0a390a026f6e12330a2d747970652e676f6f676c65617069\
     732e636f6d2f676f6f676c652e70726f746f6275662e426f6f6c56616c756512020801220c0a016d1201641a\
     01701a01711a041001180522016e";
const MODELS: &str = "0a410a016d12390a1f0a01701201641a03494e5422095265616457726974652a01313201393a014b12160a01\
     631201751a0347455422033230302a01783201721a016e12030a0174";
const NAME: &str = "0a017412016e";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, hex: &str) {
    assert_eq!(message.encode_to_vec(), bytes(hex));
    assert_eq!(&M::decode(bytes(hex).as_slice()).unwrap(), message);
}

fn device() -> Value {
    json!({
        "metadata": {"name": "t", "namespace": "n"},
        "spec": {
            "deviceModelRef": {"name": "m"},
            "protocol": {"protocolName": "modbus", "configData": {"slave": 7}},
            "properties": [{
                "name": "p",
                "desired": {"value": "20"},
                "visitors": {"protocolName": "modbus", "configData": {"scale": 0.5}},
                "reportCycle": 1,
                "collectCycle": 2,
                "reportToCloud": true,
                "pushMethod": {
                    "http": {"hostName": "h", "port": 80, "requestPath": "/", "timeout": 9},
                    "mqtt": {"address": "a", "topic": "t", "qos": 1, "retained": true},
                    "otel": {"endpointURL": "o"},
                    "dbMethod": {
                        "influxdb2": {
                            "influxdb2ClientConfig": {"url": "u", "org": "o", "bucket": "b"},
                            "influxdb2DataConfig": {"measurement": "m", "tag": {"k": "v"}, "fieldKey": "f"},
                        },
                        "redis": {"redisClientConfig": {"addr": "a", "db": 1, "poolsize": 2, "minIdleConns": 3}},
                        "TDEngine": {"TDEngineClientConfig": {"addr": "a", "dbName": "d"}},
                        "mysql": {"mysqlClientConfig": {"addr": "a", "database": "d", "userName": "u"}},
                    },
                    "anomalyDetection": {"on": true},
                },
            }],
            "methods": [{"name": "m", "description": "d", "propertyNames": ["p", "q"]}],
            "stateReport": {"reportToCloud": true, "reportCycle": 5},
        },
    })
}

fn model() -> Value {
    json!({
        "metadata": {"name": "m", "namespace": "n"},
        "spec": {
            "protocolConfigData": {"slave": 1, "baud": 9600},
            "properties": [{
                "name": "p", "description": "d", "type": "INT", "accessMode": "ReadWrite",
                "minimum": "1", "maximum": "9", "unit": "K",
                "visitors": {"protocolName": "modbus", "configData": {"scale": 2, "register": "holding"}},
            }],
        },
    })
}

#[test]
fn a_mapper_that_comes_is_understood() {
    let mapper = MapperInfo {
        name: "m".into(),
        version: "1".into(),
        api_version: "v1beta1".into(),
        protocol: "modbus".into(),
        address: b"/m.sock".to_vec(),
        state: "ok".into(),
    };
    let request = MapperRegisterRequest {
        with_data: true,
        mapper: Some(mapper),
    };
    golden(&request, REGISTER);
}

#[test]
fn reports_are_understood() {
    let value = |value: &str| TwinProperty {
        value: value.into(),
        ..TwinProperty::default()
    };
    let mut reported = value("2");
    reported.metadata.insert("timestamp".into(), "3".into());
    let twin = Twin {
        property_name: "p".into(),
        observed_desired: Some(value("1")),
        reported: Some(reported),
    };
    let request = ReportDeviceStatusRequest {
        device_name: "t".into(),
        device_namespace: "n".into(),
        reported_device: Some(DeviceStatus {
            twins: vec![twin],
            report_to_cloud: true,
            report_cycle: 1000,
        }),
    };
    golden(&request, REPORT);
    let request = ReportDeviceStatesRequest {
        device_name: "t".into(),
        device_namespace: "n".into(),
        state: "ok".into(),
    };
    golden(&request, STATES);
}

#[test]
fn a_device_of_the_api_becomes_what_mappers_expect() {
    let device = convert::device(&device(), None).unwrap();
    let request = DeviceMessage {
        device: Some(device),
    };
    golden(&request, DEVICE);
    let name = NameMessage {
        name: "t".into(),
        namespace: "n".into(),
    };
    golden(&name, NAME);
}

#[test]
fn a_model_of_the_api_becomes_what_mappers_expect() {
    let mut model = convert::model(&model());
    model.spec.as_mut().unwrap().commands.push(DeviceCommand {
        name: "c".into(),
        url: "u".into(),
        method: "GET".into(),
        status_code: vec!["200".into()],
        parameters: vec!["x".into()],
        response: b"r".to_vec(),
    });
    let response = MapperRegisterResponse {
        model_list: vec![model],
        device_list: vec![Device {
            name: "t".into(),
            ..Device::default()
        }],
    };
    golden(&response, MODELS);
}

#[test]
fn an_instance_overrides_its_model_setting_by_setting() {
    let spec = convert::device(&device(), Some(&model()))
        .unwrap()
        .spec
        .unwrap();
    let settings = |data: &Option<crate::messages::CustomizedValue>| -> Vec<(String, Value)> {
        let data = &data.as_ref().unwrap().data;
        let mut settings: Vec<_> = data
            .iter()
            .map(|(name, any)| (name.clone(), convert::setting(any).unwrap()))
            .collect();
        settings.sort_by(|one, other| one.0.cmp(&other.0));
        settings
    };
    let protocol = spec.protocol.unwrap();
    assert_eq!(
        settings(&protocol.config_data),
        [("baud".into(), json!(9600)), ("slave".into(), json!(7))]
    );
    let visitors = spec.properties[0].visitors.clone().unwrap();
    assert_eq!(
        settings(&visitors.config_data),
        [
            ("register".into(), json!("holding")),
            ("scale".into(), json!(0.5))
        ]
    );
}

#[test]
fn a_setting_that_is_no_scalar_is_named() {
    let mut wrong = device();
    wrong["spec"]["properties"][0]["visitors"]["configData"]["ports"] = json!([1, 2]);
    let told = convert::device(&wrong, None).unwrap_err().to_string();
    let field = "spec.properties[0].visitors.configData.ports";
    assert_eq!(
        told,
        format!("{field}: must be a string, a number or a boolean")
    );
}

#[test]
fn whatever_an_object_holds_nothing_panics() {
    for odd in [
        json!(null),
        json!([]),
        json!({"spec": {"properties": {"a": 1}}}),
        json!({"spec": {"properties": [7]}}),
    ] {
        let _ = convert::device(&odd, Some(&odd));
        let _ = convert::model(&odd);
    }
}

#[test]
fn the_settings_of_state_reports_are_found_where_older_manifests_have_them() {
    let mut older = device();
    let report = older["spec"].as_object_mut().unwrap().remove("stateReport");
    older["status"] = report.unwrap();
    let status = convert::device(&older, None).unwrap().status.unwrap();
    assert_eq!((status.report_to_cloud, status.report_cycle), (true, 5));
}
