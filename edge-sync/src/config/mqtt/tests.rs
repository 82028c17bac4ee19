use super::*;
use crate::EdgeConfig;

fn parse(lines: &str) -> Result<MqttConfig, String> {
    let text = format!("node = \"a\"\n[mqtt]\n{lines}");
    let config = EdgeConfig::parse(&text);
    config
        .map(|config| config.mqtt)
        .map_err(|error| error.to_string())
}

#[test]
fn modes_have_kubeedges_numbers_and_brokers() {
    let server = "server = \"tcp://broker:1883\"\n";
    for (lines, internal, external) in [
        ("", true, None),
        (server, false, Some("tcp://broker:1883")),
        ("mode = \"0\"", true, None),
        ("mode = \"internal\"", true, None),
        ("mode = \"1\"", true, Some("tcp://127.0.0.1:1883")),
        ("mode = \"2\"", false, Some("tcp://127.0.0.1:1883")),
        ("mode = \"off\"", false, None),
    ] {
        let config = parse(lines).unwrap();
        assert_eq!(config.is_internal(), internal, "{lines}");
        let named = config.external().map(|url| url.to_string());
        assert_eq!(named.as_deref(), external, "{lines}");
    }
    let internal = parse(&format!("{server}mode = \"internal\"")).unwrap();
    assert_eq!(internal.external(), None);
}

#[test]
fn addresses_of_brokers_are_read_as_they_are_written() {
    for (text, written) in [
        ("tcp://127.0.0.1:1883", "tcp://127.0.0.1:1883"),
        ("mqtt://broker", "tcp://broker:1883"),
        ("ssl://broker.example", "tls://broker.example:8883"),
        ("mqtts://broker:1/", "tls://broker:1"),
        ("tcp://[::1]:1884", "tcp://[::1]:1884"),
        ("tcp://[::1]", "tcp://[::1]:1883"),
    ] {
        let url: MqttUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), written);
    }
    for text in [
        "",
        "broker:1883",
        "ws://broker:1883",
        "tcp://",
        "tcp://:1883",
        "tcp://broker:0",
        "tcp://broker:65536",
        "tcp://a b:1",
        "tcp://[x]:1",
        "tcp://::1:1883",
    ] {
        assert_eq!(text.parse::<MqttUrl>(), Err(InvalidUrl), "{text}");
    }
}

#[test]
fn mistakes_name_their_key() {
    for (lines, path) in [
        ("mode = \"3\"", "mqtt.mode: "),
        ("qos = 2", "mqtt.qos: "),
        ("server = \"http://x\"", "mqtt.server: "),
        (
            "password_file = \"/x\"",
            "mqtt.password_file: needs a username",
        ),
        ("key_file = \"/x\"", "mqtt.cert_file: "),
        ("client_id = \"\"", "mqtt.client_id: "),
        ("password = \"secret\"", "mqtt.password: is not a known key"),
    ] {
        let told = parse(lines).unwrap_err();
        assert!(told.contains(path), "{path:?} is missing in {told}");
    }
}

#[test]
fn a_dump_holds_all_of_it() {
    let config = MqttConfig {
        mode: MqttMode::Both,
        server: Some("tls://broker:8883".parse().unwrap()),
        client_id: Some("me".to_owned()),
        username: Some("u".to_owned()),
        password_file: Some("/p".into()),
        ca_file: Some("/ca".into()),
        cert_file: Some("/cert".into()),
        key_file: Some("/key".into()),
        qos: 0,
        retain: true,
        rate: 7,
        ..MqttConfig::default()
    };
    let dump = config.dump().to_string();
    assert_eq!(parse(&dump), Ok(config));
}
