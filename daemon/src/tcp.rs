//! How this project wants its TCP connections.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// What may wait in the kernel before it is on the wire. More would only make what is urgent wait
/// behind it: the kernel's own idea is megabytes, minutes of a slow link.
const UNSENT_BYTES: u32 = 16 * 1024;

/// Sends at once what is handed over whole, and takes no more than can be sent soon.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)
}
