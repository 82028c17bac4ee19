//! `Hello`, `Welcome` and `Start`: who the peer is, what each side holds, and how each sender goes on.

use uuid::Uuid;

use super::ack::Purpose;
use super::resume::{self, Decision};
use super::session::Session;
use super::violation::{Fault, Violation};
use super::{CloseCode, Effect, Established, Moment, Role, SessionWrite, Start};
use crate::id::{Epoch, Offset};
use crate::key::NodeName;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::mutant;
use crate::store::Store;
use crate::wire::{Begin, Frame, Held, PROTOCOL_VERSION};

/// How far a handshake is.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    pub(super) deadline: Moment,
    /// The peer's process start, once it has spoken.
    peer: Option<Uuid>,
    /// What the edge said, until the cloud can answer.
    greeting: Option<Greeting>,
    /// What to do when the own stream's new epoch is durable.
    opening: Option<Opening>,
    sending: Option<Start>,
    receiving: Option<Start>,
}

#[derive(Clone, Copy, Debug)]
struct Greeting {
    incarnation: Uuid,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
enum Opening {
    Send,
    Reconcile,
}

impl Handshake {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            deadline: Moment(now.0 + HANDSHAKE_TIMEOUT),
            peer: None,
            greeting: None,
            opening: None,
            sending: None,
            receiving: None,
        }
    }

    fn established(&self) -> Option<Established> {
        Some(Established {
            sending: self.sending?,
            receiving: self.receiving?,
            peer_incarnation: self.peer?,
        })
    }
}

impl Session {
    /// The edge speaks first.
    pub(super) fn say_hello(&mut self, store: &dyn Store) -> Result<(), Fault> {
        if self.config.role == Role::Cloud {
            return Ok(());
        }
        let held = self.incoming.describe(store)?;
        let hello = Frame::Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            node: self.config.node.clone(),
            incarnation: self.config.incarnation,
            held,
        };
        self.out.urgent.push_back(hello.encode());
        Ok(())
    }

    pub(super) fn handle_hello(
        &mut self,
        now: Moment,
        versions: (u8, u8),
        node: &NodeName,
        incarnation: Uuid,
        theirs: Option<Held>,
        store: &dyn Store,
    ) -> Result<(), Fault> {
        self.expect_first(Role::Cloud, "Hello")?;
        if !(versions.0..=versions.1).contains(&PROTOCOL_VERSION) {
            return Err(Fault::End(
                CloseCode::Version,
                "this end speaks protocol version 1",
            ));
        }
        if *node != self.config.node {
            return Err(Violation::Node.into());
        }
        if let Some(handshake) = self.handshake_mut() {
            handshake.greeting = Some(Greeting {
                incarnation,
                held: theirs,
            });
        }
        if mutant::is_on("hello-without-barrier") {
            return self.handle_barrier(now, store);
        }
        self.out.write(SessionWrite::Barrier, Purpose::Barrier);
        Ok(())
    }

    /// No write of a session before is under way any more, nor will there be: say what is held.
    pub(super) fn handle_barrier(&mut self, now: Moment, store: &dyn Store) -> Result<(), Fault> {
        let Some(Greeting {
            incarnation,
            held: theirs,
        }) = self.handshake().and_then(|handshake| handshake.greeting)
        else {
            return Ok(());
        };
        let held = self.incoming.describe(store)?;
        let version = PROTOCOL_VERSION;
        let welcome = Frame::Welcome {
            version,
            incarnation: self.config.incarnation,
            held,
        };
        self.out.urgent.push_back(welcome.encode());
        self.meet(now, incarnation, theirs.as_ref(), store)
    }

    pub(super) fn handle_welcome(
        &mut self,
        now: Moment,
        version: u8,
        incarnation: Uuid,
        theirs: Option<Held>,
        store: &dyn Store,
    ) -> Result<(), Fault> {
        self.expect_first(Role::Edge, "Welcome")?;
        if version != PROTOCOL_VERSION {
            return Err(Fault::End(
                CloseCode::Version,
                "this end speaks protocol version 1",
            ));
        }
        self.meet(now, incarnation, theirs.as_ref(), store)
    }

    fn expect_first(&self, role: Role, frame: &'static str) -> Result<(), Violation> {
        match self.handshake() {
            Some(handshake)
                if self.config.role == role
                    && handshake.peer.is_none()
                    && handshake.greeting.is_none() =>
            {
                Ok(())
            }
            Some(_) | None => Err(Violation::Unexpected { frame }),
        }
    }

    /// The peer is known: decide how the own stream goes on.
    fn meet(
        &mut self,
        now: Moment,
        incarnation: Uuid,
        theirs: Option<&Held>,
        store: &dyn Store,
    ) -> Result<(), Fault> {
        let stream = self.outgoing.stream().clone();
        let own = store.stream(&stream)?;
        let decision = resume::decide(own.as_ref(), theirs, |offset| match &own {
            Some(own) => resume::known_at(store, &stream, own, offset),
            None => Ok(resume::Known::Forgotten),
        })?;
        self.peer_place
            .start(own.as_ref().map_or(Offset::ZERO, |own| own.acked));
        if let Some(handshake) = self.handshake_mut() {
            handshake.peer = Some(incarnation);
        }
        match (decision, own) {
            (Decision::Resume { after }, Some(own)) => {
                // What it holds is as good as acknowledged, should the session end before it says so.
                self.peer_place.advance(now, after);
                let upto = own.durable.max(after);
                self.start(own.epoch, Begin::Resume { after, upto }, own.floor);
            }
            (Decision::Resume { .. } | Decision::OpenAndSend, _) => self.open(Opening::Send),
            (Decision::Reconcile, _) => self.open(Opening::Reconcile),
        }
        Ok(())
    }

    fn open(&mut self, opening: Opening) {
        if let Some(handshake) = self.handshake_mut() {
            handshake.opening = Some(opening);
        }
        let epoch = self.config.spare_epoch;
        self.out
            .write(SessionWrite::OpenOwn { epoch }, Purpose::Opened);
    }

    /// The own stream's new epoch is durable.
    pub(super) fn handle_opened(&mut self, store: &dyn Store) -> Result<(), Fault> {
        let opening = self
            .handshake_mut()
            .and_then(|handshake| handshake.opening.take());
        let own = store.stream(self.outgoing.stream())?;
        let (Some(opening), Some(own)) = (opening, own) else {
            return Ok(());
        };
        if own.epoch != self.config.spare_epoch {
            return Err(Fault::End(
                CloseCode::Fenced,
                "the stream has moved to another epoch",
            ));
        }
        self.peer_place.start(own.acked);
        let begin = match opening {
            Opening::Send => Begin::Resume {
                after: Offset::ZERO,
                upto: own.durable,
            },
            Opening::Reconcile => Begin::Reconcile { upto: own.durable },
        };
        self.start(own.epoch, begin, own.floor);
        Ok(())
    }

    fn start(&mut self, epoch: Epoch, begin: Begin, floor: Offset) {
        self.out
            .urgent
            .push_back(Frame::Start { epoch, begin }.encode());
        let start = self.outgoing.start(epoch, begin, floor);
        if let Some(handshake) = self.handshake_mut() {
            handshake.sending = Some(start);
        }
        self.finish_handshake();
    }

    pub(super) fn handle_start(
        &mut self,
        epoch: Epoch,
        begin: Begin,
        store: &dyn Store,
    ) -> Result<(), Fault> {
        if self
            .handshake()
            .is_none_or(|handshake| handshake.peer.is_none())
        {
            return Err(Violation::Unexpected { frame: "Start" }.into());
        }
        let start = self
            .incoming
            .handle_start(epoch, begin, store, &mut self.out)?;
        if let Some(handshake) = self.handshake_mut() {
            handshake.receiving = Some(start);
        }
        self.finish_handshake();
        Ok(())
    }

    fn finish_handshake(&mut self) {
        let established = self.handshake().and_then(Handshake::established);
        if let Some(established) = established {
            self.open_phase();
            self.out.effects.push_back(Effect::Established(established));
        }
    }
}
