//! Bytes of packets, and topics.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::Packet as Other;
use tokio::io::AsyncWriteExt as _;

use super::packet::{Will, decode};
use super::topic::matches;
use super::{
    Connect, Incoming, Packet, ProtocolError, Publish, Qos, TOPIC_BYTES_MAX, Wire, WireError,
    is_filter, is_topic,
};

const MAX: usize = 1024;

fn publish(qos: Qos, payload: &[u8]) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: "a/b".into(),
        id: if qos == Qos::Zero { 0 } else { 10 },
        payload: Bytes::copy_from_slice(payload),
    }
}

fn packets() -> Vec<Packet> {
    let will = Will {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: Qos::One,
        retain: true,
    };
    let connect = Connect {
        client: "c".to_owned(),
        clean: false,
        keep_alive: 60,
        username: Some("u".to_owned()),
        password: Some(Bytes::from_static(b"p")),
        will: Some(will),
    };
    let mut again = publish(Qos::One, b"x");
    again.dup = true;
    again.retain = true;
    vec![
        Packet::Connect(connect),
        Packet::ConnAck {
            session_present: true,
            code: 0,
        },
        Packet::Publish(publish(Qos::Zero, b"")),
        Packet::Publish(publish(Qos::Two, &[7; 300])),
        Packet::Publish(again),
        Packet::PubAck(1),
        Packet::PubRec(2),
        Packet::PubRel(3),
        Packet::PubComp(65_535),
        Packet::Subscribe {
            id: 9,
            filters: vec![("a/+".to_owned(), Qos::One), ("#".to_owned(), Qos::Two)],
        },
        Packet::SubAck {
            id: 9,
            codes: vec![1, 0x80],
        },
        Packet::Unsubscribe {
            id: 4,
            filters: vec!["a/+".to_owned()],
        },
        Packet::UnsubAck(4),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect,
    ]
}

fn bytes_of(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes);
    bytes
}

#[test]
fn packets_have_the_bytes_of_the_standard() {
    let hex = |packet: &Packet| -> String {
        bytes_of(packet)
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect()
    };
    let golden = [
        concat!(
            "101f00044d51545404ec003c",
            "000163",
            "000477696c6c",
            "0004676f6e65",
            "000175",
            "000170"
        ),
        "20020100",
        "30050003612f62",
    ];
    for (packet, golden) in packets().iter().zip(golden) {
        assert_eq!(hex(packet), golden, "{packet:?}");
    }
    assert_eq!(hex(&packets()[9]), "820c00090003612f2b0100012302");
    assert_eq!(hex(&Packet::PubRel(3)), "62020003");
}

#[test]
fn what_is_written_is_read_and_a_part_of_it_is_not() {
    for packet in packets() {
        let whole = bytes_of(&packet);
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            assert_eq!(decode(&mut part, MAX), Ok(None), "{packet:?} cut at {end}");
        }
        let mut more = whole.clone();
        more.extend_from_slice(b"\xd0\x00");
        let read = decode(&mut more, MAX).unwrap().unwrap();
        assert_eq!(read, Incoming::Packet(packet));
        assert_eq!(&more[..], b"\xd0\x00");
    }
}

#[test]
fn nonsense_is_refused_and_never_panics() {
    let malformed: [&[u8]; 25] = [
        b"\x00\x00",
        b"\xf0\x00",
        b"\x30\xff\xff\xff\xff\x01",
        // QoS 3; a packet id of 0; a wildcard in a topic; a length that is not there.
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x30\x03\x00\x01#",
        b"\x30\x03\x00\x09a",
        // No filter; a filter that is none.
        b"\x82\x02\x00\x01",
        b"\x82\x07\x00\x01\x00\x02a#\x00",
        // No text; U+0000; an empty topic.
        b"\x30\x03\x00\x01\xff",
        b"\x30\x03\x00\x01\x00",
        b"\x30\x02\x00\x00",
        b"\x82\x06\x00\x01\x00\x01\x00\x00",
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00",
        // Reserved flags; a packet id of 0; bytes that nobody asked for.
        b"\x80\x06\x00\x01\x00\x01a\x00",
        b"\x82\x06\x00\x01\x00\x01a\xfd",
        b"\x60\x02\x00\x01",
        b"\xcf\x00",
        b"\x40\x02\x00\x00",
        b"\x82\x06\x00\x00\x00\x01a\x00",
        b"\x40\x03\x00\x01\x00",
        b"\xc0\x01\x00",
        // Flags of a CONNECT: the reserved one, a password without a name; a will without a topic.
        b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01c",
        b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01c\x00\x01p",
        b"\x10\x13\x00\x04MQTT\x04\x06\x00\x3c\x00\x01c\x00\x01#\x00\x01g",
    ];
    for bytes in malformed {
        let read = decode(&mut BytesMut::from(bytes), MAX);
        assert_eq!(read, Err(ProtocolError::Malformed), "{bytes:02x?}");
    }
    let newer = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00";
    let read = decode(&mut BytesMut::from(&newer[..]), MAX);
    assert_eq!(read, Err(ProtocolError::Version { level: 5 }));
    let mut random = fastrand::Rng::with_seed(11);
    for packet in packets() {
        let whole = bytes_of(&packet);
        for _ in 0..500 {
            let mut bytes = whole.clone();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            let _ = decode(&mut bytes, MAX);
        }
    }
}

/// Whether another implementation understands a packet as we do; `None`: it has no room for what it
/// says.
fn is_understood(bytes: &[u8], ours: &Packet) -> Option<bool> {
    let Ok(mut other) = Other::read(&mut BytesMut::from(bytes), MAX) else {
        // Codes it does not know, and passwords that are no text.
        let answers = matches!(ours, Packet::ConnAck { .. } | Packet::SubAck { .. });
        let is_connect = matches!(ours, Packet::Connect(_));
        return if answers || is_connect {
            None
        } else {
            Some(false)
        };
    };
    if let (Other::Connect(other), Packet::Connect(ours)) = (&mut other, ours)
        && (ours.username.as_deref() == Some("") || ours.password.as_deref() == Some(b""))
    {
        // None and an empty one are the same there.
        return Some(other.client_id == ours.client);
    }
    let mut back = BytesMut::new();
    other.write(&mut back, MAX).unwrap();
    let back = decode(&mut back, MAX).unwrap().unwrap();
    Some(matches!(back, Incoming::Packet(back) if back == *ours))
}

#[test]
fn another_implementation_understands_what_is_taken_as_it_was_taken() {
    let mut random = fastrand::Rng::with_seed(13);
    let mut understood = 0;
    for packet in packets() {
        let whole = bytes_of(&packet);
        assert_eq!(is_understood(&whole, &packet), Some(true), "{packet:?}");
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            let Ok(Some(Incoming::Packet(ours))) = decode(&mut bytes.clone(), MAX) else {
                continue;
            };
            let is_understood = is_understood(&bytes, &ours);
            assert_ne!(is_understood, Some(false), "{bytes:02x?} is {ours:?}");
            understood += u32::from(is_understood == Some(true));
        }
    }
    assert!(understood > 5000, "only {understood} were taken by both");
}

#[test]
fn filters_select_topics_by_level() {
    for (filter, topic) in [
        ("a/b", "a/b"),
        ("a/+", "a/b"),
        ("+/+", "/b"),
        ("#", "a/b/c"),
        ("a/#", "a"),
        ("a/#", "a/b/c"),
        ("$hw/#", "$hw/events"),
        ("+", ""),
    ] {
        assert!(matches(filter, topic), "{filter} {topic}");
    }
    for (filter, topic) in [
        ("a/b", "a"),
        ("a", "a/b"),
        ("a/+", "a"),
        ("a/+", "a/b/c"),
        ("+", "a/b"),
        ("#", "$hw/events"),
        ("+/events", "$hw/events"),
    ] {
        assert!(!matches(filter, topic), "{filter} {topic}");
    }
    for no_filter in ["", "a+", "#/a", "a/b#", "\0"] {
        assert!(!is_filter(no_filter), "{no_filter:?}");
    }
    assert!(!is_filter(&"a".repeat(TOPIC_BYTES_MAX + 1)));
    assert!(!is_topic("a/+") && !is_topic("") && is_topic("$hw/a"));
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_passed_over_and_the_next_is_read() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let mut wire = Wire::new(ours, MAX);
    let mut bytes = bytes_of(&Packet::Publish(publish(Qos::One, &vec![1; 100_000])));
    Packet::PingReq.encode(&mut bytes);
    let writing = async {
        theirs.write_all(&bytes).await.unwrap();
        theirs
    };
    let reading = async {
        let first = wire.receive().await.unwrap();
        let head = publish(Qos::One, b"");
        assert_eq!(
            first,
            Incoming::Oversized {
                head,
                bytes: 100_000
            }
        );
        let second = wire.receive().await.unwrap();
        assert_eq!(second, Incoming::Packet(Packet::PingReq));
    };
    let (theirs, ()) = tokio::join!(writing, reading);
    drop(theirs);
    assert!(matches!(wire.receive().await, Err(WireError::Closed)));
    // Only a publish may be large.
    let mut large = BytesMut::from(&b"\x82\xff\x7f\x00\x01"[..]);
    assert_eq!(
        decode(&mut large, MAX),
        Err(ProtocolError::TooLarge {
            bytes: 16_383,
            max: MAX
        })
    );
}
