//! A connection as a stream of packets.

use bytes::{Buf as _, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};

use super::packet::{Incoming, Packet, ProtocolError, decode};

/// What one read makes room for.
const READ_BYTES: usize = 16 * 1024;
/// A buffer that a large packet has made larger than this is given back once it is empty.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// The connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the connection was closed")]
    Closed,
}

/// Both directions of a connection with their buffers.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    packet_bytes_max: usize,
    received: BytesMut,
    /// How much of an oversized payload is still to be passed over.
    passing_over: usize,
    sending: BytesMut,
    /// Something was written since the last flush: it may stay in a buffer of TLS.
    unflushed: bool,
    bytes_in: u64,
}

impl<S: AsyncRead + AsyncWrite> Wire<S> {
    /// Packets longer than `packet_bytes_max` are refused; see the module.
    pub(crate) fn new(stream: S, packet_bytes_max: usize) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            packet_bytes_max,
            received: BytesMut::new(),
            passing_over: 0,
            sending: BytesMut::new(),
            unflushed: false,
            bytes_in: 0,
        }
    }

    /// The next packet that has arrived; never waits.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        if self.passing_over > 0 {
            let there = self.passing_over.min(self.received.len());
            self.received.advance(there);
            self.passing_over -= there;
            if self.passing_over > 0 {
                return Ok(None);
            }
        }
        let incoming = decode(&mut self.received, self.packet_bytes_max)?;
        if let Some(Incoming::Oversized { bytes, .. }) = &incoming {
            self.passing_over = *bytes;
        }
        if self.received.is_empty() && self.received.capacity() > BUFFER_BYTES_KEPT {
            self.received = BytesMut::new();
        }
        Ok(incoming)
    }

    /// Puts a packet behind those that wait to be sent.
    pub(crate) fn send(&mut self, packet: &Packet) {
        packet.encode(&mut self.sending);
    }

    /// How many bytes wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.sending.len()
    }

    /// How many bytes have arrived: whether the other side lives.
    pub(crate) const fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Sends a part of what waits, or receives something if `receives`; waits until one of the two
    /// can be done. Can be dropped at any await without losing bytes.
    pub(crate) async fn turn(&mut self, receives: bool) -> Result<(), WireError> {
        let Self {
            reader,
            writer,
            received,
            sending,
            unflushed,
            bytes_in,
            ..
        } = self;
        received.reserve(if receives { READ_BYTES } else { 0 });
        let has_work = !sending.is_empty() || *unflushed;
        let write = async {
            if sending.is_empty() {
                writer.flush().await?;
                *unflushed = false;
                return Ok(());
            }
            if writer.write_buf(sending).await? == 0 {
                return Err(WireError::Closed);
            }
            *unflushed = true;
            if sending.is_empty() && sending.capacity() > BUFFER_BYTES_KEPT {
                *sending = BytesMut::new();
            }
            Ok(())
        };
        tokio::select! {
            written = write, if has_work => written?,
            read = reader.read_buf(received), if receives => {
                let read = read?;
                if read == 0 {
                    return Err(WireError::Closed);
                }
                *bytes_in += read as u64;
            }
            else => std::future::pending().await,
        }
        Ok(())
    }

    /// Sends all that waits.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        while !self.sending.is_empty() || self.unflushed {
            self.turn(false).await?;
        }
        Ok(())
    }

    /// Waits for the next packet.
    pub(crate) async fn receive(&mut self) -> Result<Incoming, WireError> {
        loop {
            if let Some(incoming) = self.next()? {
                return Ok(incoming);
            }
            self.turn(true).await?;
        }
    }
}
