//! Objects of the Device API (`devices.kubeedge.io/v1beta1`, as JSON) as messages of DMI.
//!
//! What an instance sets overrides its model's defaults, setting by setting: `protocol.configData`
//! and, property by property, `visitors.configData`. The merge is the node's, so that mappers see
//! one device.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use serde_json::{Map, Value, json};

use crate::messages::{
    Any, CustomizedValue, DbMethod, DbMethodInfluxdb2, DbMethodMysql, DbMethodRedis,
    DbMethodTdengine, Device, DeviceMethod, DeviceModel, DeviceModelSpec, DeviceProperty,
    DeviceSpec, DeviceStatus, Influxdb2Client, Influxdb2Data, ModelProperty, MysqlClient,
    ProtocolConfig, PushMethod, PushMethodHttp, PushMethodMqtt, PushMethodOtel, RedisClient,
    TdengineClient, TwinProperty, VisitorConfig,
};

/// What stands before the name of a type in an [`Any`].
const TYPE_PREFIX: &str = "type.googleapis.com/google.protobuf.";

/// An object that no mapper can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A setting is a list or a map: the wire has scalars only.
    #[error("{field}: must be a string, a number or a boolean")]
    NoScalar {
        /// Where.
        field: String,
    },
}

/// The message of a Device, with the defaults of its model.
///
/// # Errors
/// [`ConvertError`] names the setting that cannot be carried.
pub fn device(device: &Value, model: Option<&Value>) -> Result<Device, ConvertError> {
    let nothing = Value::Null;
    let model = model.unwrap_or(&nothing);
    let (spec, model) = (&device["spec"], &model["spec"]);
    let protocol = ProtocolConfig {
        protocol_name: text(&spec["protocol"]["protocolName"]),
        config_data: settings(
            "spec.protocol.configData",
            &model["protocolConfigData"],
            &spec["protocol"]["configData"],
        )?,
    };
    let properties = list(&spec["properties"])
        .iter()
        .enumerate()
        .map(|(at, it)| property(at, it, model))
        .collect::<Result<_, _>>()?;
    let method = |method: &Value| DeviceMethod {
        name: text(&method["name"]),
        description: text(&method["description"]),
        property_names: list(&method["propertyNames"]).iter().map(text).collect(),
    };
    // The settings of state reports moved from `status` to `spec`; manifests of both kinds exist.
    let states = match spec.get("stateReport") {
        Some(states) => states,
        None => &device["status"],
    };
    Ok(Device {
        name: text(&device["metadata"]["name"]),
        namespace: text(&device["metadata"]["namespace"]),
        spec: Some(DeviceSpec {
            device_model_reference: text(&spec["deviceModelRef"]["name"]),
            protocol: Some(protocol),
            properties,
            methods: list(&spec["methods"]).iter().map(method).collect(),
        }),
        status: Some(DeviceStatus {
            twins: Vec::new(),
            report_to_cloud: states["reportToCloud"].as_bool().unwrap_or_default(),
            report_cycle: states["reportCycle"].as_i64().unwrap_or_default(),
        }),
    })
}

/// The message of a DeviceModel.
#[must_use]
pub fn model(model: &Value) -> DeviceModel {
    let property = |it: &Value| ModelProperty {
        name: text(&it["name"]),
        description: text(&it["description"]),
        r#type: text(&it["type"]),
        access_mode: text(&it["accessMode"]),
        minimum: text(&it["minimum"]),
        maximum: text(&it["maximum"]),
        unit: text(&it["unit"]),
    };
    let properties = list(&model["spec"]["properties"]);
    DeviceModel {
        name: text(&model["metadata"]["name"]),
        namespace: text(&model["metadata"]["namespace"]),
        spec: Some(DeviceModelSpec {
            properties: properties.iter().map(property).collect(),
            commands: Vec::new(),
        }),
    }
}

/// A setting as JSON; `None` for a type that no setting has.
#[must_use]
pub fn setting(any: &Any) -> Option<Value> {
    let kind = any.type_url.strip_prefix(TYPE_PREFIX)?;
    let bytes = any.value.as_slice();
    match kind {
        "StringValue" => String::decode(bytes).ok().map(Value::String),
        "Int64Value" => i64::decode(bytes).ok().map(|it| json!(it)),
        "FloatValue" => f32::decode(bytes).ok().map(|it| json!(it)),
        "DoubleValue" => f64::decode(bytes).ok().map(|it| json!(it)),
        "BoolValue" => bool::decode(bytes).ok().map(Value::Bool),
        _ => None,
    }
}

fn property(at: usize, property: &Value, model: &Value) -> Result<DeviceProperty, ConvertError> {
    let name = text(&property["name"]);
    let of_model = list(&model["properties"])
        .iter()
        .find(|it| it["name"].as_str() == Some(name.as_str()))
        .map(|it| &it["visitors"]);
    let visitors = &property["visitors"];
    let default = of_model.unwrap_or(&Value::Null);
    let config_data = settings(
        &format!("spec.properties[{at}].visitors.configData"),
        &default["configData"],
        &visitors["configData"],
    )?;
    let protocol_name = match text(&visitors["protocolName"]) {
        own if own.is_empty() => text(&default["protocolName"]),
        own => own,
    };
    let desired = property.get("desired").map(|desired| TwinProperty {
        value: text(&desired["value"]),
        metadata: texts(&desired["metadata"]),
    });
    Ok(DeviceProperty {
        name,
        desired,
        visitors: Some(VisitorConfig {
            protocol_name,
            config_data,
        }),
        report_cycle: property["reportCycle"].as_i64().unwrap_or_default(),
        collect_cycle: property["collectCycle"].as_i64().unwrap_or_default(),
        report_to_cloud: property["reportToCloud"].as_bool().unwrap_or_default(),
        push_method: push_method(at, &property["pushMethod"])?,
    })
}

fn push_method(at: usize, push: &Value) -> Result<Option<PushMethod>, ConvertError> {
    if !push.is_object() {
        return Ok(None);
    }
    let anomaly_detection = settings(
        &format!("spec.properties[{at}].pushMethod.anomalyDetection"),
        &Value::Null,
        &push["anomalyDetection"],
    )?;
    Ok(Some(PushMethod {
        http: there(&push["http"], |it| PushMethodHttp {
            hostname: text(&it["hostName"]),
            port: it["port"].as_i64().unwrap_or_default(),
            requestpath: text(&it["requestPath"]),
            timeout: it["timeout"].as_i64().unwrap_or_default(),
        }),
        mqtt: there(&push["mqtt"], |it| PushMethodMqtt {
            address: text(&it["address"]),
            topic: text(&it["topic"]),
            qos: small(&it["qos"]),
            retained: it["retained"].as_bool().unwrap_or_default(),
        }),
        db_method: there(&push["dbMethod"], database),
        otel: there(&push["otel"], |it| PushMethodOtel {
            endpoint_url: text(&it["endpointURL"]),
        }),
        anomaly_detection,
    }))
}

fn database(method: &Value) -> DbMethod {
    DbMethod {
        influxdb2: there(&method["influxdb2"], |it| DbMethodInfluxdb2 {
            client: there(&it["influxdb2ClientConfig"], |it| Influxdb2Client {
                url: text(&it["url"]),
                org: text(&it["org"]),
                bucket: text(&it["bucket"]),
            }),
            data: there(&it["influxdb2DataConfig"], |it| Influxdb2Data {
                measurement: text(&it["measurement"]),
                tag: texts(&it["tag"]),
                field_key: text(&it["fieldKey"]),
            }),
        }),
        redis: there(&method["redis"], |it| DbMethodRedis {
            client: there(&it["redisClientConfig"], |it| RedisClient {
                addr: text(&it["addr"]),
                db: small(&it["db"]),
                poolsize: small(&it["poolsize"]),
                min_idle_conns: small(&it["minIdleConns"]),
            }),
        }),
        tdengine: there(&method["TDEngine"], |it| DbMethodTdengine {
            client: there(&it["TDEngineClientConfig"], |it| TdengineClient {
                addr: text(&it["addr"]),
                dbname: text(&it["dbName"]),
            }),
        }),
        mysql: there(&method["mysql"], |it| DbMethodMysql {
            client: there(&it["mysqlClientConfig"], |it| MysqlClient {
                addr: text(&it["addr"]),
                database: text(&it["database"]),
                user_name: text(&it["userName"]),
            }),
        }),
    }
}

/// What `make` makes of an object that is there.
fn there<T>(object: &Value, make: impl FnOnce(&Value) -> T) -> Option<T> {
    object.is_object().then(|| make(object))
}

/// The settings of a free map over those of another; none when neither is there.
fn settings(
    field: &str,
    default: &Value,
    own: &Value,
) -> Result<Option<CustomizedValue>, ConvertError> {
    if !default.is_object() && !own.is_object() {
        return Ok(None);
    }
    let none = Map::new();
    let default = default.as_object().unwrap_or(&none);
    let own = own.as_object().unwrap_or(&none);
    let mut data = HashMap::new();
    for (name, value) in default.iter().chain(own) {
        let wrapped = wrap(value).ok_or_else(|| ConvertError::NoScalar {
            field: format!("{field}.{name}"),
        })?;
        data.insert(name.clone(), wrapped);
    }
    Ok(Some(CustomizedValue { data }))
}

/// A scalar as mappers expect it: whole numbers of 64 bits, others of single width.
fn wrap(value: &Value) -> Option<Any> {
    let (kind, value) = match value {
        Value::String(text) => ("StringValue", text.encode_to_vec()),
        Value::Bool(is) => ("BoolValue", is.encode_to_vec()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => ("Int64Value", whole.encode_to_vec()),
            None => ("FloatValue", narrow(number.as_f64()?).encode_to_vec()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(Any {
        type_url: format!("{TYPE_PREFIX}{kind}"),
        value,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the wire has single width")]
const fn narrow(number: f64) -> f32 {
    number as f32
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn small(value: &Value) -> i32 {
    let number = value.as_i64().unwrap_or_default();
    i32::try_from(number).unwrap_or_default()
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let entry = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    map.as_object()
        .map(|map| map.iter().filter_map(entry).collect())
        .unwrap_or_default()
}
