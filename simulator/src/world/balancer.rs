//! What stands before the cloud: takes calls for it, and what happens when it is replaced.
//!
//! Two processes never work on one store: the next one starts when the one before has ended. Until
//! then a load balancer may take calls that nobody answers.

use std::time::Duration;

use causeway_kube_api::Clock as _;
use causeway_log::Epoch;
use causeway_log::limits::HANDSHAKE_TIMEOUT;
use causeway_log::replication::{Moment, Role, Session, SessionConfig};

use super::cloud::CloudRun;
use super::link::End;
use super::queue::Event;
use super::{Side, World};

impl World {
    pub(super) fn accept(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (n, life) = (conn.node, conn.life);
        let link = &self.nodes[n].link;
        let latency = link.latency(&mut self.chance.network);
        let name = self.nodes[n].name.clone();
        if link.is_blocked(Side::Cloud) {
            self.refuse(id, HANDSHAKE_TIMEOUT, None, (n, life));
            return;
        }
        if self.now < self.cloud_frozen {
            // Its machine took the call; the edge waits only so long for the answer.
            if self.cloud_frozen < self.now + HANDSHAKE_TIMEOUT {
                self.queue
                    .push(self.cloud_frozen, Event::Accept { conn: id });
            } else {
                self.refuse(id, HANDSHAKE_TIMEOUT, None, (n, life));
            }
            return;
        }
        let stays = |cloud: &&mut CloudRun| !cloud.shutdown.token().is_set();
        let Some(cloud) = self.cloud.as_mut().filter(stays) else {
            let wait = match self.swallows {
                true => HANDSHAKE_TIMEOUT,
                false => latency,
            };
            self.refuse(id, wait, None, (n, life));
            return;
        };
        match cloud.hub.admit(&name, cloud.shutdown.token()) {
            Err(overloaded) => {
                let retry_after = Some(overloaded.retry_after);
                self.refuse(id, latency, retry_after, (n, life));
            }
            Ok(seat) => {
                let spare = Epoch::new(self.cloud_clock.uid());
                let config = SessionConfig::new(Role::Cloud, name, cloud.incarnation, spare)
                    .with_encoder(cloud.encoder.clone());
                let store = cloud.writer.store.clone();
                let session = Session::new(config, Moment(self.now), &*store);
                conn.cloud = Some(End::new(session, store, self.now));
                conn.seat = Some(seat);
                let answered = self.now + latency;
                conn.to_edge.begin(answered);
                self.queue.push(answered, Event::Dialed { conn: id });
                self.pump(id, Side::Cloud);
            }
        }
    }

    fn refuse(
        &mut self,
        id: u64,
        wait: Duration,
        retry_after: Option<Duration>,
        (node, life): (usize, u64),
    ) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.is_dialing = false;
        }
        self.forget_conn(id);
        let failed = Event::DialFailed {
            node,
            life,
            retry_after,
        };
        self.queue.push(self.now + wait, failed);
    }

    /// The cloud is asked to stop: its sessions say goodbye.
    pub(super) fn roll(&mut self, drain: Duration, gap: Duration, swallows: bool) {
        let Some(cloud) = &self.cloud else { return };
        cloud.shutdown.begin();
        let life = cloud.life;
        self.swallows = swallows;
        self.disturb_all();
        for conn in self.conns.keys() {
            self.queue.push(self.now, Event::Fence { conn: *conn });
        }
        self.queue
            .push(self.now + drain, Event::Drained { life, gap });
    }

    /// It has ended.
    pub(super) fn drained(&mut self, life: u64, gap: Duration) {
        if self.cloud.as_ref().is_some_and(|cloud| cloud.life == life) {
            self.kill_cloud();
            let life = self.cloud_life;
            self.queue.push(self.now + gap, Event::Tick { life });
        }
    }
}
