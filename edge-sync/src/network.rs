//! Tells when this machine's links, addresses or routes change: the moment to dial again, however
//! long the pause was going to be.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// Multicast groups of rtnetlink: links, IPv4 and IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A subscription to the kernel's notices.
#[derive(Debug)]
pub(crate) struct NetworkWatch {
    /// To the runtime a datagram socket is like another, whatever its family.
    socket: UnixDatagram,
}

impl NetworkWatch {
    /// Subscribes. Needs no privilege, but some sandboxes refuse it.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol means `NETLINK_ROUTE`.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self {
            socket: UnixDatagram::from_std(StdDatagram::from(socket))?,
        })
    }

    /// Returns after something changed. What it was does not matter: the next dial finds out.
    /// Cancel-safe.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        self.socket.readable().await?;
        loop {
            match self.socket.try_recv(&mut [0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Notices were lost: something changed.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The kernel's word for a full receive queue.
const ENOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscription_is_quiet_at_first() {
        // A sandbox may refuse the socket; then there is nothing to look at.
        if let Ok(watch) = NetworkWatch::open() {
            let at_once = futures_util::FutureExt::now_or_never(watch.changed());
            assert!(at_once.is_none_or(|changed| changed.is_ok()));
        }
    }
}
