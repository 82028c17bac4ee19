//! Follows one kind: asks what its follower says, and hands on what is seen.

use std::sync::Arc;
use std::time::Duration;

use causeway_kube_api::Clock;
use causeway_log::Uid;
use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::{Ended, Feed};
use super::follower::{Ask, Condition, Follower};
use super::health::Health;
use super::identity::Identity;
use super::lines::{Lines, ListPage};
use super::needs::Needs;
use super::{luck, monotonic};
use crate::cluster::Seen;
use crate::kube::client::{ApiError, ApiServer, Call, Class, segment};

/// A page of a list, or the beginning of a watch, may take this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest page that is read; a larger one is asked for again with fewer objects.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A watch lasts this long at least …
const WATCH_SECONDS_MIN: u64 = 300;
/// … and up to so much longer, so that watches do not end together.
const WATCH_SECONDS_SPREAD: u64 = 300;
/// API servers send bookmarks every minute. One that says nothing for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// A list that is streamed has no such pauses.
const LIST_SILENCE_MAX: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) follower: Follower,
    pub(super) api: ApiServer,
    pub(super) identity: Arc<Identity>,
    pub(super) needs: Arc<Needs>,
    pub(super) feed: Feed,
    pub(super) health: Arc<Health>,
    pub(super) clock: Arc<dyn Clock>,
    /// The cluster that was asked last.
    pub(super) cluster: Option<Uid>,
    /// When the connection before ended: who answered before that is of no interest.
    pub(super) broke: Instant,
}

/// How a question ended.
enum Outcome {
    /// There is more to ask at once.
    More,
    /// The watch ended without a word.
    Over,
    /// It failed.
    Failed(&'static str, ApiError),
}

impl Watcher {
    /// Follows the kind until `restart` is gone, or the machine ends. Each time `restart` moves,
    /// the kind is listed anew.
    pub(super) async fn run(mut self, mut restart: watch::Receiver<u64>) {
        while self.wait_for_stage().await.is_ok() {
            let pause = tokio::select! {
                biased;
                changed = restart.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follower.restart();
                    Duration::ZERO
                }
                outcome = self.turn() => match outcome {
                    Ok(outcome) => self.conclude(outcome),
                    Err(Ended) => return,
                },
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                changed = restart.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follower.restart();
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What a kind is needed for is known when the stages before it are through.
    async fn wait_for_stage(&mut self) -> Result<(), watch::error::RecvError> {
        let kind = self.follower.kind();
        let mut changes = self.health.subscribe();
        loop {
            if self.health.is_through_before(kind.stage) {
                return Ok(());
            }
            changes.changed().await?;
        }
    }

    fn conclude(&mut self, outcome: Outcome) -> Duration {
        let (verb, error) = match outcome {
            Outcome::More => return Duration::ZERO,
            Outcome::Over => {
                self.broke = monotonic();
                return self.follower.ended(luck());
            }
            Outcome::Failed(verb, error) => (verb, error),
        };
        self.broke = monotonic();
        let pause = self.follower.failed(&error, luck());
        // What is tried in another way at once is no trouble yet.
        if !pause.is_zero() {
            let resource = &self.follower.kind().resource;
            let condition = self.follower.condition();
            let now = self.clock.now();
            self.health.failed(resource, verb, condition, &error, now);
        }
        pause
    }

    /// One question and its answer.
    async fn turn(&mut self) -> Result<Outcome, Ended> {
        let id = match self.identity.check(self.broke).await {
            Ok(id) => id,
            Err(error) => return Ok(Outcome::Failed("get namespace kube-system for", error)),
        };
        if self.cluster.as_ref() != Some(&id.key.uid) {
            if self.cluster.is_some() {
                self.follower.restart();
            }
            self.cluster = Some(id.key.uid.clone());
        }
        self.health.asked(&self.follower.kind().resource);
        let mut seen = Vec::new();
        let ask = self.follower.ask(&mut seen);
        self.feed.send(seen, 0).await?;
        match ask {
            Ask::Page { limit, after } => self.page(limit, after).await,
            Ask::StreamedList => {
                let query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
                // This is the right that it takes.
                self.stream(query, "watch", LIST_SILENCE_MAX).await
            }
            Ask::Watch { from } => {
                let query = format!("&resourceVersion={}", segment(&from));
                self.stream(&query, "watch", SILENCE_MAX).await
            }
        }
    }

    async fn page(&mut self, limit: u32, after: Option<String>) -> Result<Outcome, Ended> {
        let mut path = self.path(&format!("limit={limit}"));
        if let Some(after) = after {
            path.push_str("&continue=");
            path.push_str(&segment(&after));
        }
        let call = Call::get(path)
            .within(ANSWER_TIMEOUT)
            .at_most(PAGE_BYTES_MAX);
        let page = match self.api.call_sized::<ListPage>(call).await {
            Ok((page, bytes)) => page.into_page().map(|page| (page, bytes)),
            Err(error) => Err(error),
        };
        let (page, bytes) = match page {
            Ok(page) => page,
            Err(error) => return Ok(Outcome::Failed("list", error)),
        };
        let mut seen = Vec::new();
        self.follower.page(page, &mut seen);
        self.hand_in(seen, bytes).await?;
        Ok(Outcome::More)
    }

    async fn stream(
        &mut self,
        query: &str,
        verb: &'static str,
        mut silence: Duration,
    ) -> Result<Outcome, Ended> {
        let seconds = WATCH_SECONDS_MIN + fastrand::u64(..WATCH_SECONDS_SPREAD);
        let path = self.path(&format!(
            "watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}{query}"
        ));
        let call = Call::get(path).within(ANSWER_TIMEOUT);
        let mut lines = match self.api.open(call).await {
            Ok(body) => Lines::new(body),
            Err(error) => return Ok(Outcome::Failed(verb, error)),
        };
        loop {
            let (events, bytes) = match tokio::time::timeout(silence, lines.next()).await {
                Ok(Ok(Some(events))) => events,
                Ok(Ok(None)) => return Ok(Outcome::Over),
                Ok(Err(error)) => return Ok(Outcome::Failed(verb, error)),
                Err(_) if self.follower.condition() == Condition::Following => {
                    self.follower.silent();
                    return Ok(Outcome::Over);
                }
                Err(_) => {
                    let why = format!("nothing came for {} s", silence.as_secs());
                    return Ok(Outcome::Failed(verb, ApiError::new(Class::Busy, why)));
                }
            };
            let mut seen = Vec::new();
            let mut failed = None;
            for event in events {
                if let Err(error) = self.follower.event(event, &mut seen) {
                    failed = Some(error);
                    break;
                }
            }
            self.hand_in(seen, bytes).await?;
            if let Some(error) = failed {
                return Ok(Outcome::Failed(verb, error));
            }
            if self.follower.condition() == Condition::Following {
                silence = SILENCE_MAX;
            }
        }
    }

    async fn hand_in(&self, mut seen: Vec<Seen>, mut bytes: usize) -> Result<(), Ended> {
        let resource = &self.follower.kind().resource;
        if resource.is("", "pods") {
            bytes += self.needs.add_to(&mut seen).await;
        }
        let listed = seen.iter().any(|seen| matches!(seen, Seen::Listed { .. }));
        self.health
            .came(resource, self.follower.condition(), seen.len());
        self.feed.send(seen, bytes).await?;
        if listed && let Some(cluster) = &self.cluster {
            self.health.listed(resource, cluster);
        }
        Ok(())
    }

    fn path(&self, query: &str) -> String {
        let kind = self.follower.kind();
        let path = kind.collection("");
        match kind.field_selector {
            "" => format!("{path}?{query}"),
            selector => format!("{path}?fieldSelector={}&{query}", segment(selector)),
        }
    }
}
