//! Clients that watch: each lists once, then believes every event, over the bytes of the API. Some
//! read at once, some stand still for minutes, read a little, hang up, and come back to where they
//! were. WATCH-1 and WATCH-2, wherever something is served.
//!
//! The API is the daemons' own. It tells the time by the machine it really runs on, but only to end
//! watches after half an hour of that; nobody waits here, so no watch ends by time.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use causeway_edge_sync::first_sync::FirstSync;
use causeway_kube_api::{
    Authority, ServerConfig, Source, View, Write, WriteError, Written, router,
};
use causeway_log::Resource;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::queue::Event;
use super::rest::Differs;
use super::seen::Kind;
use super::{Invariant, World};
use crate::rng::{Purpose, mix, stream};

/// What is watched.
const PATHS: [&str; 5] = [
    "/api/v1/configmaps?",
    "/api/v1/pods?",
    "/api/v1/pods?fieldSelector=status.phase%3DRunning&",
    "/api/v1/namespaces/default/secrets?",
    "/api/v1/nodes?",
];
/// Clients of each server.
const CLIENTS: usize = 2;
/// Who reads nothing for this long counts as stalled.
const STALL: Duration = Duration::from_secs(30);
/// Tries to catch up: a watch may be refused for what it wants to go on from, and its connection
/// may have ended.
const TRIES: usize = 4;

/// All of them.
#[derive(Debug)]
pub(super) struct Watchers {
    /// Where the timers of watches are; nobody turns it.
    time: Runtime,
    random: fastrand::Rng,
    clients: Vec<Client>,
}

/// Believes what it is told.
#[derive(Debug)]
struct Client {
    /// Of which node's API; of the cloud's when there is none.
    node: Option<usize>,
    path: &'static str,
    server: Option<(u64, axum::Router)>,
    /// The revision that it knows of; none before its first list.
    at: Option<u64>,
    /// Revisions of objects by uid.
    copy: BTreeMap<String, String>,
    body: Option<Body>,
    /// The beginning of a line.
    read: Vec<u8>,
    pulled: Duration,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// There is nothing more yet.
    CaughtUp,
    /// It stopped before.
    Some,
    /// The connection ended.
    Ended,
    /// What the client knows is too old to go on from.
    Gone,
    /// Something that cannot be believed.
    Odd(String),
}

/// What an API serves.
struct Served {
    view: View,
    first_sync: Option<FirstSync>,
}

impl Source for Served {
    fn view(&self) -> &View {
        &self.view
    }

    fn authority(&self) -> Authority {
        Authority::Cloud
    }

    fn incomplete(&self, _: &Resource) -> Option<String> {
        let waits = self.first_sync.as_ref().is_some_and(|it| !it.is_done());
        waits.then(|| "the node has not been synchronised yet".to_owned())
    }

    fn commit(
        &self,
        _: Write,
    ) -> Pin<Box<dyn Future<Output = Result<Written, WriteError>> + Send + '_>> {
        let reason = "these clients only read".to_owned();
        Box::pin(std::future::ready(Err(WriteError::ReadOnly { reason })))
    }
}

impl Watchers {
    /// Clients of the cloud and of `nodes` nodes. `None`: this machine has no timers to give.
    pub(super) fn new(seed: u64, nodes: usize) -> Option<Box<Self>> {
        let time = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .ok()?;
        let mut random = stream(mix(seed), Purpose::Watches);
        let servers = std::iter::once(None).chain((0..nodes).map(Some));
        let clients = servers
            .flat_map(|node| [node; CLIENTS])
            .map(|node| Client {
                node,
                path: PATHS[random.usize(..PATHS.len())],
                server: None,
                at: None,
                copy: BTreeMap::new(),
                body: None,
                read: Vec::new(),
                pulled: Duration::ZERO,
            })
            .collect();
        Some(Box::new(Self {
            time,
            random,
            clients,
        }))
    }

    /// When a client reads again.
    fn pause(&mut self) -> Duration {
        let most = match self.random.u32(..12) {
            0 => 240_000,
            1..4 => 20_000,
            _ => 2_000,
        };
        Duration::from_millis(self.random.u64(1..=most))
    }
}

impl World {
    /// Clients begin to watch.
    pub(super) fn begin_watches(&mut self) {
        self.watchers = Watchers::new(self.seed, self.nodes.len());
        let Some(watchers) = &mut self.watchers else {
            return;
        };
        for client in 0..watchers.clients.len() {
            let at = self.now + watchers.pause();
            self.queue.push(at, Event::Pull { client });
        }
    }

    /// Whose API a client watches: a node's, or the cloud's.
    pub(super) fn watched_by(&self, client: usize) -> Option<usize> {
        let watchers = self.watchers.as_ref()?;
        watchers.clients.get(client)?.node
    }

    /// A disk was replaced: the numbers that its clients know mean other things there.
    pub(super) fn forget_watches(&mut self, node: Option<usize>) {
        for client in self.watchers.iter_mut().flat_map(|all| &mut all.clients) {
            if client.node == node {
                (client.at, client.body) = (None, None);
            }
        }
    }

    /// A client reads.
    pub(super) fn pull(&mut self, client: usize) {
        let Some(mut watchers) = self.watchers.take() else {
            return;
        };
        let random = &mut watchers.random;
        let hangs_up = random.u32(..8) == 0;
        let frames = match random.u32(..6) {
            0 => random.usize(..3),
            _ => usize::MAX,
        };
        let one = &mut watchers.clients[client];
        if hangs_up {
            one.body = None;
        }
        let timers = watchers.time.enter();
        let outcome = self.read_watch(one, frames);
        drop(timers);
        let again = self.now + watchers.pause();
        self.watchers = Some(watchers);
        self.queue.push(again, Event::Pull { client });
        if let Err((invariant, what)) = outcome {
            self.violate(invariant, what);
        }
    }

    /// All clients read all there is.
    pub(super) fn check_watches(&mut self) -> Result<(), Differs> {
        let Some(mut watchers) = self.watchers.take() else {
            return Ok(());
        };
        let timers = watchers.time.enter();
        let mut outcome = Ok(());
        for client in &mut watchers.clients {
            outcome = outcome.and_then(|()| self.read_watch(client, usize::MAX));
        }
        drop(timers);
        self.watchers = Some(watchers);
        outcome
    }

    /// What runs where a client calls, and which start of it.
    fn served_to(&self, node: Option<usize>) -> Option<(u64, Served)> {
        let Some(n) = node else {
            let cloud = self.cloud.as_ref()?;
            let view = cloud.view.clone();
            let first_sync = None;
            return Some((cloud.life, Served { view, first_sync }));
        };
        let edge = self.nodes[n].edge.as_ref()?;
        let view = edge.view.clone();
        let first_sync = Some(edge.first_sync.clone());
        Some((edge.life, Served { view, first_sync }))
    }

    fn read_watch(&mut self, client: &mut Client, frames: usize) -> Result<(), Differs> {
        let Some((life, served)) = self.served_to(client.node) else {
            (client.server, client.body) = (None, None);
            return Ok(());
        };
        if (client.server.as_ref()).is_none_or(|(known, _)| *known != life) {
            client.body = None;
            let api = router(Arc::new(served), ServerConfig::default());
            client.server = Some((life, api));
        }
        let seen = &mut self.stats.seen;
        let stalled = self.now.saturating_sub(client.pulled) > STALL && client.body.is_some();
        seen.add(Kind::WatchStalls, u64::from(stalled));
        client.pulled = self.now;
        let who = client.node.map_or("cloud", |n| self.nodes[n].name.as_str());
        let broken = |what: String| {
            let path = client_path(client.path);
            Err((Invariant::WatchComplete, format!("{who} {path}: {what}")))
        };
        for _ in 0..TRIES {
            if client.at.is_none() {
                let Some((at, copy)) = client.list() else {
                    return Ok(());
                };
                (client.at, client.copy) = (Some(at), copy);
            }
            if client.body.is_none() {
                client.watch();
                seen.add(Kind::Watches, 1);
            }
            match client.read(frames, &mut |events| seen.add(Kind::WatchEvents, events)) {
                Read::Some => return Ok(()),
                Read::Ended => client.body = None,
                Read::Odd(what) => return broken(what),
                Read::Gone => {
                    (client.at, client.body) = (None, None);
                    seen.add(Kind::WatchesGone, 1);
                    let what = format_args!("{} is told Gone", client_path(client.path));
                    self.trace.event(self.now, "watch", who, what);
                }
                Read::CaughtUp => {
                    let Some((at, list)) = client.list() else {
                        return broken("cannot be listed while it is watched".to_owned());
                    };
                    return client.differs(at, &list).map_or(Ok(()), broken);
                }
            }
        }
        broken("a watch never catches up".to_owned())
    }
}

fn client_path(path: &str) -> &str {
    path.trim_end_matches(['?', '&'])
}

impl Client {
    fn call(&self, path: &str) -> Option<http::Response<Body>> {
        let (_, api) = self.server.as_ref()?;
        let request = Request::builder().uri(path).body(Body::empty()).ok()?;
        let service = TowerToHyperService::new(api.clone());
        at_once(service.call(request))?.ok()
    }

    /// The revision and the objects of a list; none while it is refused.
    fn list(&self) -> Option<(u64, BTreeMap<String, String>)> {
        let response = self.call(client_path(self.path))?;
        if !response.status().is_success() {
            return None;
        }
        let body = at_once(response.into_body().collect())?.ok()?.to_bytes();
        let list: Value = serde_json::from_slice(&body).ok()?;
        let items = list["items"].as_array()?.iter();
        Some((
            version(&list)?.parse().ok()?,
            items.filter_map(known).collect(),
        ))
    }

    /// How what it believes differs from a list.
    fn differs(&self, at: u64, list: &BTreeMap<String, String>) -> Option<String> {
        if *list == self.copy {
            return None;
        }
        let odd = |(uid, version): &(&String, &String)| self.copy.get(*uid) != Some(*version);
        let missing = list.iter().find(odd);
        let extra = self.copy.keys().find(|uid| !list.contains_key(*uid));
        Some(format!(
            "who believed every event up to {:?} has not {missing:?}, or has {extra:?}, of the list \
             at {at}",
            self.at
        ))
    }

    fn watch(&mut self) {
        self.read.clear();
        let at = self.at.unwrap_or_default();
        let path = format!("{}watch=true&resourceVersion={at}", self.path);
        self.body = self.call(&path).map(http::Response::into_body);
    }

    /// Reads so many pieces at most.
    fn read(&mut self, pieces: usize, tell: &mut dyn FnMut(u64)) -> Read {
        let mut left = pieces;
        loop {
            let Some(body) = &mut self.body else {
                return Read::Ended;
            };
            if left == 0 {
                return Read::Some;
            }
            left -= 1;
            match at_once(body.frame()) {
                None => return Read::CaughtUp,
                Some(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.read.extend_from_slice(&data);
                }
                Some(None | Some(Err(_))) => return Read::Ended,
            }
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                tell(1);
                let outcome = match serde_json::from_slice(&line) {
                    Ok(event) => self.believe(&event),
                    Err(error) => Read::Odd(format!("an event that is none: {error}")),
                };
                if outcome != Read::CaughtUp {
                    return outcome;
                }
            }
        }
    }

    /// `CaughtUp`: it goes on.
    fn believe(&mut self, event: &Value) -> Read {
        let object = &event["object"];
        match event["type"].as_str().unwrap_or_default() {
            "ADDED" | "MODIFIED" => self.copy.extend(known(object)),
            "DELETED" => {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
                self.copy.remove(uid);
            }
            "ERROR" if object["code"] == 410 => return Read::Gone,
            _ => return Read::Odd(format!("an event {event}")),
        }
        let Some(at) = version(object).and_then(|at| at.parse().ok()) else {
            return Read::Odd("an event without a revision".to_owned());
        };
        if Some(at) < self.at {
            return Read::Odd(format!("an event of {at} after {:?}", self.at));
        }
        self.at = Some(at);
        Read::CaughtUp
    }
}

fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

fn known(object: &Value) -> Option<(String, String)> {
    let uid = object["metadata"]["uid"].as_str()?;
    Some((uid.to_owned(), version(object)?.to_owned()))
}

/// What a future comes to that waits for nothing; none when it waits.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
