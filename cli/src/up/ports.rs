//! Choosing where to listen.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Result;

use super::progress::Steps;
use crate::exit::Coded;

/// How far to look for a free port.
const TRIES: u16 = 200;

/// Hands out addresses, each once.
#[derive(Debug, Default)]
pub(super) struct Ports {
    taken: BTreeSet<SocketAddr>,
}

impl Ports {
    /// The address asked for, or else the first free one from a default port on, with a notice when
    /// that is not the default itself.
    ///
    /// # Errors
    /// When the address asked for is in use, or no port is free.
    pub(super) fn choose(
        &mut self,
        what: &str,
        asked: Option<SocketAddr>,
        default: u16,
        steps: &mut Steps,
    ) -> Result<SocketAddr> {
        if let Some(address) = asked {
            let free = if self.taken.contains(&address) {
                None
            } else {
                bindable(address).ok()
            };
            let Some(address) = free else {
                let what = format!("{what}: {address} is in use");
                return Err(Coded::failed(what).hint("choose another address").into());
            };
            self.taken.insert(address);
            return Ok(address);
        }
        for port in default..default.saturating_add(TRIES) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if self.taken.contains(&address) || bindable(address).is_err() {
                continue;
            }
            if port != default && !self.taken.contains(&(Ipv4Addr::LOCALHOST, default).into()) {
                steps.notice(format!("{what}: port {default} is in use, taking {port}"));
            }
            self.taken.insert(address);
            return Ok(address);
        }
        Err(Coded::failed(format!("{what}: no free port from {default} on")).into())
    }
}

/// Tries the address by listening on it for a moment; port 0 becomes a free one.
fn bindable(address: SocketAddr) -> std::io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}
