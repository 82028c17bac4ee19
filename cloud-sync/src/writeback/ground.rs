//! What the requests of edge applications stand on, as the answers that accept them keep it.

use causeway_log::{Body, EventId, Key, Op, Record, Version};
use causeway_projections::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::interest::down_body;

/// What a request was made on: the version of the object that the node saw, and the revision of the
/// node's own store. Later requests of a node stand on later grounds, as long as its disk does not go
/// back in time; and when it does, requests from before that are sent again stand on earlier ones.
/// Their names would not tell, because they come from clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ground {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<u64>,
    made: u64,
}

impl Ground {
    /// What `request`, which `record` brought, stands on.
    #[must_use]
    pub fn of(request: &Request, record: &Record) -> Self {
        Self {
            base: request.base.map(Version::get),
            made: record.header.version.get(),
        }
    }

    /// The same of a record that may be no request; that stands on the lowest.
    #[must_use]
    pub fn under(record: &Record) -> Self {
        let request = Request::decode(record.body.bytes());
        request.map_or_else(|_| Self::default(), |request| Self::of(&request, record))
    }

    /// The version of the object that the node saw.
    #[must_use]
    pub fn base(self) -> Option<Version> {
        self.base.map(Version::new)
    }

    /// The body of the answer that accepts the request. `made` is what came of it at an API server,
    /// where nobody can have changed it since.
    #[must_use]
    pub fn answer(self, made: Option<Mark>) -> Body {
        let (ground, made) = (self, made.map(|Mark(mark)| mark));
        serde_json::to_vec(&Basis { ground, made }).map_or(Body::EMPTY, Body::from)
    }

    #[cfg(test)]
    pub(crate) const fn made_at(made: u64) -> Self {
        Self { base: None, made }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Basis {
    #[serde(flatten)]
    ground: Ground,
    #[serde(default, rename = "object", skip_serializing_if = "Option::is_none")]
    made: Option<u64>,
}

/// What requests may change of an object: all that nodes are shown of it but its status. A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// Of an object as an API server has it.
    #[must_use]
    pub fn of(key: &Key, object: &Value) -> Self {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let hash = down_body(key, &object).hash();
        Self(u64::from_le_bytes(hash.short()))
    }
}

/// A request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Which one.
    pub id: EventId,
    /// What came of it, where that is known.
    pub made: Option<Mark>,
}

impl Earlier {
    /// What an answer accepts, if that was asked before something on `ground` was: those in between
    /// may have been superseded on the way.
    #[must_use]
    pub fn of(answer: &Record, ground: Ground) -> Option<Self> {
        let id = answer
            .header
            .cause
            .filter(|_| answer.header.op == Op::Apply)?;
        // Answers of clouds that did not say it stand on the lowest.
        let basis: Basis = serde_json::from_slice(answer.body.bytes()).unwrap_or_default();
        (basis.ground < ground).then_some(Self {
            id,
            made: basis.made.map(Mark),
        })
    }
}

#[cfg(test)]
mod tests {
    use causeway_log::{Header, Offset, WallTime};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::rig;

    const fn on(base: Option<u64>, made: u64) -> Ground {
        Ground { base, made }
    }

    fn answer(op: Op, body: Body) -> Record {
        Record {
            header: Header {
                offset: Offset::new(1),
                id: EventId::new(Uuid::from_u128(1)),
                cause: Some(EventId::new(Uuid::from_u128(2))),
                time: WallTime::default(),
                key: rig::key("configmaps", "default", "menu"),
                version: Version::new(1),
                op,
            },
            body,
        }
    }

    #[test]
    fn an_answer_tells_what_was_accepted_to_whoever_asks_later() {
        let made = Some(Mark(u64::MAX));
        let accepted = answer(Op::Apply, on(Some(3), 7).answer(made));
        let id = EventId::new(Uuid::from_u128(2));
        let earlier = Some(Earlier { id, made });
        for (later, told) in [
            (on(Some(3), 8), earlier),
            (on(Some(4), 1), earlier),
            (on(Some(3), 7), None),
            (on(Some(3), 6), None),
            (on(None, 90), None),
        ] {
            assert_eq!(Earlier::of(&accepted, later), told, "{later:?}");
        }
        let refused = answer(Op::Reject, on(None, 1).answer(None));
        assert_eq!(Earlier::of(&refused, on(Some(3), 8)), None);
        for silent in [Body::EMPTY, Body::from(b"[7]".to_vec())] {
            let told = Earlier::of(&answer(Op::Apply, silent), on(None, 1)).unwrap();
            assert_eq!(told.made, None);
        }
    }

    #[test]
    fn versions_managers_and_status_leave_no_mark() {
        let key = rig::key("configmaps", "default", "menu");
        let object = |version: &str, phase: &str, soup: &str| {
            json!({"metadata": {"name": "menu", "resourceVersion": version, "managedFields": [version]},
                "status": {"phase": phase}, "data": {"soup": soup}})
        };
        let mark = |object: Value| Mark::of(&key, &object);
        let pea = mark(object("1", "Old", "pea"));
        assert_eq!(pea, mark(object("2", "New", "pea")));
        assert_ne!(pea, mark(object("1", "Old", "leek")));
    }
}
