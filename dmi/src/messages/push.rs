//! Where a mapper pushes values besides the node.

use std::collections::BTreeMap;

use prost::Message;

use super::CustomizedValue;

/// Where values are pushed besides the node; at most one is used by mappers.
#[derive(Clone, PartialEq, Message)]
pub struct PushMethod {
    /// An HTTP endpoint.
    #[prost(message, optional, tag = "1")]
    pub http: Option<PushMethodHttp>,
    /// An MQTT topic.
    #[prost(message, optional, tag = "2")]
    pub mqtt: Option<PushMethodMqtt>,
    /// A database.
    #[prost(message, optional, tag = "3")]
    pub db_method: Option<DbMethod>,
    /// An OpenTelemetry collector.
    #[prost(message, optional, tag = "4")]
    pub otel: Option<PushMethodOtel>,
    /// Settings of a detector of anomalies.
    #[prost(message, optional, tag = "5")]
    pub anomaly_detection: Option<CustomizedValue>,
}

/// An HTTP endpoint.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PushMethodHttp {
    /// Host.
    #[prost(string, tag = "1")]
    pub hostname: String,
    /// Port.
    #[prost(int64, tag = "2")]
    pub port: i64,
    /// Path.
    #[prost(string, tag = "3")]
    pub requestpath: String,
    /// Timeout, in the mapper's unit.
    #[prost(int64, tag = "4")]
    pub timeout: i64,
}

/// An MQTT topic.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PushMethodMqtt {
    /// The broker.
    #[prost(string, tag = "1")]
    pub address: String,
    /// The topic.
    #[prost(string, tag = "2")]
    pub topic: String,
    /// Quality of service.
    #[prost(int32, tag = "3")]
    pub qos: i32,
    /// Whether the broker keeps the last one.
    #[prost(bool, tag = "4")]
    pub retained: bool,
}

/// An OpenTelemetry collector.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PushMethodOtel {
    /// Its URL.
    #[prost(string, tag = "1")]
    pub endpoint_url: String,
}

/// A database.
#[derive(Clone, PartialEq, Message)]
pub struct DbMethod {
    /// InfluxDB 2.
    #[prost(message, optional, tag = "1")]
    pub influxdb2: Option<DbMethodInfluxdb2>,
    /// Redis.
    #[prost(message, optional, tag = "2")]
    pub redis: Option<DbMethodRedis>,
    /// TDengine.
    #[prost(message, optional, tag = "3")]
    pub tdengine: Option<DbMethodTdengine>,
    /// MySQL.
    #[prost(message, optional, tag = "4")]
    pub mysql: Option<DbMethodMysql>,
}

/// InfluxDB 2.
#[derive(Clone, PartialEq, Message)]
pub struct DbMethodInfluxdb2 {
    /// The server.
    #[prost(message, optional, tag = "1")]
    pub client: Option<Influxdb2Client>,
    /// What a value becomes.
    #[prost(message, optional, tag = "2")]
    pub data: Option<Influxdb2Data>,
}

/// A server of InfluxDB 2.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Influxdb2Client {
    /// URL.
    #[prost(string, tag = "1")]
    pub url: String,
    /// Organisation.
    #[prost(string, tag = "2")]
    pub org: String,
    /// Bucket.
    #[prost(string, tag = "3")]
    pub bucket: String,
}

/// What a value becomes in InfluxDB 2.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Influxdb2Data {
    /// Measurement.
    #[prost(string, tag = "1")]
    pub measurement: String,
    /// Tags.
    #[prost(btree_map = "string, string", tag = "2")]
    pub tag: BTreeMap<String, String>,
    /// Field.
    #[prost(string, tag = "3")]
    pub field_key: String,
}

/// Redis.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DbMethodRedis {
    /// The server.
    #[prost(message, optional, tag = "1")]
    pub client: Option<RedisClient>,
}

/// A Redis server.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RedisClient {
    /// Address.
    #[prost(string, tag = "1")]
    pub addr: String,
    /// Database.
    #[prost(int32, tag = "2")]
    pub db: i32,
    /// Connections.
    #[prost(int32, tag = "3")]
    pub poolsize: i32,
    /// Connections kept open.
    #[prost(int32, tag = "4")]
    pub min_idle_conns: i32,
}

/// TDengine.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DbMethodTdengine {
    /// The server.
    #[prost(message, optional, tag = "1")]
    pub client: Option<TdengineClient>,
}

/// A TDengine server.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TdengineClient {
    /// Address.
    #[prost(string, tag = "1")]
    pub addr: String,
    /// Database.
    #[prost(string, tag = "2")]
    pub dbname: String,
}

/// MySQL.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DbMethodMysql {
    /// The server.
    #[prost(message, optional, tag = "1")]
    pub client: Option<MysqlClient>,
}

/// A MySQL server.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MysqlClient {
    /// Address.
    #[prost(string, tag = "1")]
    pub addr: String,
    /// Database.
    #[prost(string, tag = "2")]
    pub database: String,
    /// User.
    #[prost(string, tag = "3")]
    pub user_name: String,
}
