//! The messages of DMI v1beta1, package `v1beta1`. Field numbers and types are those of KubeEdge's
//! `api.proto`; names follow Rust. Tests hold them to bytes that another implementation made.

mod push;

use std::collections::{BTreeMap, HashMap};

use prost::Message;

pub use push::{
    DbMethod, DbMethodInfluxdb2, DbMethodMysql, DbMethodRedis, DbMethodTdengine, Influxdb2Client,
    Influxdb2Data, MysqlClient, PushMethod, PushMethodHttp, PushMethodMqtt, PushMethodOtel,
    RedisClient, TdengineClient,
};

/// A protobuf message of any type: `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// Which type, as `type.googleapis.com/…`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A map of settings with values of any type.
#[derive(Clone, PartialEq, Message)]
pub struct CustomizedValue {
    /// Setting by name.
    #[prost(map = "string, message", tag = "1")]
    pub data: HashMap<String, Any>,
}

/// What a mapper says when it comes.
#[derive(Clone, PartialEq, Message)]
pub struct MapperRegisterRequest {
    /// Whether it wants the devices and models it is to serve.
    #[prost(bool, tag = "1")]
    pub with_data: bool,
    /// Who it is.
    #[prost(message, optional, tag = "2")]
    pub mapper: Option<MapperInfo>,
}

/// What a mapper is to serve.
#[derive(Clone, PartialEq, Message)]
pub struct MapperRegisterResponse {
    /// Models of the devices.
    #[prost(message, repeated, tag = "1")]
    pub model_list: Vec<DeviceModel>,
    /// Devices of the mapper's protocol.
    #[prost(message, repeated, tag = "2")]
    pub device_list: Vec<Device>,
}

/// Who a mapper is, and where it listens.
#[derive(Clone, PartialEq, Message)]
pub struct MapperInfo {
    /// Its name: with the protocol, its identity on the node.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The version of DMI it speaks, such as `v1beta1`.
    #[prost(string, tag = "3")]
    pub api_version: String,
    /// The protocol it serves: `spec.protocol.protocolName` of its devices.
    #[prost(string, tag = "4")]
    pub protocol: String,
    /// The path of its Unix socket.
    #[prost(bytes = "vec", tag = "5")]
    pub address: Vec<u8>,
    /// How it is; free text.
    #[prost(string, tag = "6")]
    pub state: String,
}

/// A DeviceModel.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceModel {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What its devices have.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<DeviceModelSpec>,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// What devices of a model have.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceModelSpec {
    /// Properties.
    #[prost(message, repeated, tag = "1")]
    pub properties: Vec<ModelProperty>,
    /// Commands. The Device API has none; mappers of old may.
    #[prost(message, repeated, tag = "2")]
    pub commands: Vec<DeviceCommand>,
}

/// A property of a model.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ModelProperty {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its type, such as `INT`.
    #[prost(string, tag = "3")]
    pub r#type: String,
    /// `ReadWrite` or `ReadOnly`.
    #[prost(string, tag = "4")]
    pub access_mode: String,
    /// The least value; empty for none.
    #[prost(string, tag = "5")]
    pub minimum: String,
    /// The largest value; empty for none.
    #[prost(string, tag = "6")]
    pub maximum: String,
    /// The unit, for people.
    #[prost(string, tag = "7")]
    pub unit: String,
}

/// A command of a model.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeviceCommand {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it is found.
    #[prost(string, tag = "2")]
    pub url: String,
    /// How it is called.
    #[prost(string, tag = "3")]
    pub method: String,
    /// What it may answer.
    #[prost(string, repeated, tag = "4")]
    pub status_code: Vec<String>,
    /// What it takes.
    #[prost(string, repeated, tag = "5")]
    pub parameters: Vec<String>,
    /// An example of an answer.
    #[prost(bytes = "vec", tag = "6")]
    pub response: Vec<u8>,
}

/// A Device.
#[derive(Clone, PartialEq, Message)]
pub struct Device {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it is.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<DeviceSpec>,
    /// What was reported of it.
    #[prost(message, optional, tag = "3")]
    pub status: Option<DeviceStatus>,
    /// Its namespace.
    #[prost(string, tag = "4")]
    pub namespace: String,
}

/// What a device is.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceSpec {
    /// The name of its model, in the same namespace.
    #[prost(string, tag = "1")]
    pub device_model_reference: String,
    /// How it is reached.
    #[prost(message, optional, tag = "2")]
    pub protocol: Option<ProtocolConfig>,
    /// Its properties.
    #[prost(message, repeated, tag = "3")]
    pub properties: Vec<DeviceProperty>,
    /// Its methods.
    #[prost(message, repeated, tag = "4")]
    pub methods: Vec<DeviceMethod>,
}

/// A method: properties that are set together.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeviceMethod {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub description: String,
    /// The properties it sets.
    #[prost(string, repeated, tag = "3")]
    pub property_names: Vec<String>,
}

/// A property of a device.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceProperty {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it is to be.
    #[prost(message, optional, tag = "2")]
    pub desired: Option<TwinProperty>,
    /// How the mapper reads and writes it.
    #[prost(message, optional, tag = "3")]
    pub visitors: Option<VisitorConfig>,
    /// How often it is pushed elsewhere, in milliseconds.
    #[prost(int64, tag = "4")]
    pub report_cycle: i64,
    /// How often it is read from the device, in milliseconds.
    #[prost(int64, tag = "5")]
    pub collect_cycle: i64,
    /// Whether it is reported to the node.
    #[prost(bool, tag = "6")]
    pub report_to_cloud: bool,
    /// Where else it is pushed.
    #[prost(message, optional, tag = "7")]
    pub push_method: Option<PushMethod>,
}

/// How a device is reached.
#[derive(Clone, PartialEq, Message)]
pub struct ProtocolConfig {
    /// Selects the mapper.
    #[prost(string, tag = "1")]
    pub protocol_name: String,
    /// What the mapper needs.
    #[prost(message, optional, tag = "2")]
    pub config_data: Option<CustomizedValue>,
}

/// How a mapper reads and writes a property.
#[derive(Clone, PartialEq, Message)]
pub struct VisitorConfig {
    /// The protocol.
    #[prost(string, tag = "1")]
    pub protocol_name: String,
    /// What the mapper needs.
    #[prost(message, optional, tag = "2")]
    pub config_data: Option<CustomizedValue>,
}

/// A mapper reports values.
#[derive(Clone, PartialEq, Message)]
pub struct ReportDeviceStatusRequest {
    /// Of which device.
    #[prost(string, tag = "1")]
    pub device_name: String,
    /// The values.
    #[prost(message, optional, tag = "2")]
    pub reported_device: Option<DeviceStatus>,
    /// In which namespace.
    #[prost(string, tag = "3")]
    pub device_namespace: String,
}

/// A mapper reports how a device is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReportDeviceStatesRequest {
    /// Which device.
    #[prost(string, tag = "1")]
    pub device_name: String,
    /// In which namespace.
    #[prost(string, tag = "2")]
    pub device_namespace: String,
    /// How it is.
    #[prost(string, tag = "3")]
    pub state: String,
}

/// What is reported of a device.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceStatus {
    /// Values.
    #[prost(message, repeated, tag = "1")]
    pub twins: Vec<Twin>,
    /// Whether its state is reported.
    #[prost(bool, tag = "2")]
    pub report_to_cloud: bool,
    /// How often its state is reported, in milliseconds.
    #[prost(int64, tag = "3")]
    pub report_cycle: i64,
}

/// The values of one property.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Twin {
    /// Which property.
    #[prost(string, tag = "1")]
    pub property_name: String,
    /// The desired value that the mapper has seen.
    #[prost(message, optional, tag = "2")]
    pub observed_desired: Option<TwinProperty>,
    /// What it is.
    #[prost(message, optional, tag = "3")]
    pub reported: Option<TwinProperty>,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TwinProperty {
    /// The value.
    #[prost(string, tag = "1")]
    pub value: String,
    /// What its writer adds, such as `timestamp` and `type`.
    #[prost(btree_map = "string, string", tag = "2")]
    pub metadata: BTreeMap<String, String>,
}

/// Nothing: the answer of calls that have none.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// A device: for a mapper to serve, to serve differently, or as the answer to a look-up.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceMessage {
    /// The device.
    #[prost(message, optional, tag = "1")]
    pub device: Option<Device>,
}

/// Names a device or a model: the calls that remove or look up, and the answers that name what
/// was made, have this one shape.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NameMessage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
}

/// A model, for a mapper to know.
#[derive(Clone, PartialEq, Message)]
pub struct ModelMessage {
    /// The model.
    #[prost(message, optional, tag = "1")]
    pub model: Option<DeviceModel>,
}
