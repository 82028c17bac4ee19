//! A small MQTT 3.1.1 client over TCP: what a device needs to report with QoS 1 and to listen.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// Longest packet that is read.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// A connection to a broker.
#[derive(Debug)]
pub struct Mqtt {
    stream: BufStream<TcpStream>,
    next: u16,
}

/// What a broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The message with this number is taken.
    Acked(u16),
    /// Somebody published a message.
    Message {
        /// Where.
        topic: String,
        /// What.
        payload: Vec<u8>,
    },
    /// Anything else, such as the answer to a subscription.
    Other,
}

impl Mqtt {
    /// Connects with a clean session, without a name or password.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn connect(broker: SocketAddr, client: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let mut mqtt = Self {
            stream: BufStream::new(stream),
            next: 0,
        };
        let mut body = Vec::new();
        text(&mut body, "MQTT")?;
        // Level 4, a clean session, no keepalive.
        body.extend([4, 0b10, 0, 0]);
        text(&mut body, client)?;
        mqtt.send(0x10, &body).await?;
        mqtt.flush().await?;
        match mqtt.receive().await? {
            (0x20, answer) if answer.get(1) == Some(&0) => Ok(mqtt),
            (kind, answer) => Err(refused(format!("{kind:#x} {answer:?} to a connect"))),
        }
    }

    /// Publishes with QoS 1; says which number the acknowledgement has. What was published goes out
    /// with the next [`Mqtt::flush`] at the latest.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<u16> {
        let number = self.number();
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
        text(&mut body, topic)?;
        body.extend(number.to_be_bytes());
        body.extend_from_slice(payload);
        self.send(0x32, &body).await?;
        Ok(number)
    }

    /// Asks for the messages of a filter, with QoS 1.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = self.number().to_be_bytes().to_vec();
        text(&mut body, filter)?;
        body.push(1);
        self.send(0x82, &body).await?;
        self.flush().await
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }

    /// The next thing that the broker sends; a message with QoS 1 is acknowledged.
    ///
    /// # Errors
    /// When the connection is gone, or what comes is no MQTT.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        let (kind, body) = self.receive().await?;
        match kind >> 4 {
            4 => {
                let number = body.first_chunk().ok_or_else(malformed)?;
                Ok(Incoming::Acked(u16::from_be_bytes(*number)))
            }
            3 => {
                let length = body.first_chunk().ok_or_else(malformed)?;
                let end = 2 + usize::from(u16::from_be_bytes(*length));
                let topic = body.get(2..end).ok_or_else(malformed)?;
                let topic = String::from_utf8(topic.to_vec()).map_err(|_| malformed())?;
                let mut payload = body.get(end..).ok_or_else(malformed)?;
                if kind & 0b110 != 0 {
                    let (number, rest) = payload.split_first_chunk::<2>().ok_or_else(malformed)?;
                    let number = *number;
                    payload = rest;
                    let payload = payload.to_vec();
                    self.send(0x40, &number).await?;
                    self.flush().await?;
                    return Ok(Incoming::Message { topic, payload });
                }
                let payload = payload.to_vec();
                Ok(Incoming::Message { topic, payload })
            }
            _ => Ok(Incoming::Other),
        }
    }

    const fn number(&mut self) -> u16 {
        self.next = if self.next == u16::MAX {
            1
        } else {
            self.next + 1
        };
        self.next
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut head = vec![kind];
        let mut left = body.len();
        if left > PACKET_BYTES_MAX {
            return Err(malformed());
        }
        loop {
            let byte = u8::try_from(left % 128).unwrap_or(0);
            left /= 128;
            head.push(if left > 0 { byte | 0x80 } else { byte });
            if left == 0 {
                break;
            }
        }
        self.stream.write_all(&head).await?;
        self.stream.write_all(body).await
    }

    async fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let mut length = 0;
        for place in 0..4 {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length > PACKET_BYTES_MAX {
            return Err(malformed());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((kind, body))
    }
}

fn text(body: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(|_| malformed())?;
    body.extend(length.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no packet of MQTT")
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, what)
}
