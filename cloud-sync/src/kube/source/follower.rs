//! How one kind is followed. Pure: told what the API server answers, it says what to ask next and
//! what was seen.
//!
//! ```text
//!            ┌──────────── Gone, or told to ────────────┐
//!            ▼                                          │
//!   Streamed list ──complete──▶ Watch ──ends, breaks──▶ Watch from where it stood
//!      │ not served
//!      ▼
//!   Paged list ──last page──▶ Watch
//! ```
//!
//! Only a list that came to its end confirms that what it did not show is gone. Failures wait, each
//! longer than the one before and by chance, until something succeeds.

use std::time::Duration;

use causeway_kube_api::Status;
use serde_json::Value;

use super::kinds::Kind;
use crate::cluster::Seen;
use crate::kube::client::{ApiError, Class};

/// Objects on a page.
const PAGE_MAX: u32 = 500;
/// A page that is too large for one answer is asked for again with half as many objects.
const PAGE_MIN: u32 = 1;
/// The first pause, before luck.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause, before luck.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause where only a person can help.
const PAUSE_REFUSED: Duration = Duration::from_secs(30);
/// Streamed lists that may end early before pages are asked for.
const STREAMS_BROKEN_MAX: u32 = 3;
/// A watch that said what is no event is asked again so often from where it stood.
const UNREADABLE_MAX: u32 = 2;
/// What an API server says at the end of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What to ask the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All objects as events, then changes.
    StreamedList,
    /// A page of all objects.
    Page {
        /// Objects on it.
        limit: u32,
        /// Where it begins; `None`: at the beginning.
        after: Option<String>,
    },
    /// Changes after a version.
    Watch {
        /// The version.
        from: String,
    },
}

impl Condition {
    /// The name in metrics and in the status document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Following => "following",
            Self::Behind => "behind",
        }
    }
}

/// How a kind is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was never listed to the end.
    Starting,
    /// What it is, is known, and changes come in.
    Following,
    /// What it is, was known; changes do not come in at the moment.
    Behind,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The version that the list shows.
    pub version: String,
    /// Where the next page begins; empty on the last one.
    pub next: String,
    /// The objects.
    pub items: Vec<Value>,
}

/// A line of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `ADDED` or `MODIFIED`.
    Present(Value),
    /// `ADDED` or `MODIFIED`, of an object that is too large to be read; what names it.
    TooLarge {
        /// The object, with nothing in it but what says which it is.
        head: Value,
        /// How large the event was.
        bytes: usize,
    },
    /// `DELETED`.
    Gone(Value),
    /// `BOOKMARK`.
    Bookmark(Value),
    /// `ERROR`.
    Error(Box<Status>),
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Follower {
    kind: Kind,
    position: Position,
    /// The API server cannot stream lists.
    is_paged: bool,
    streams_broken: u32,
    page_max: u32,
    /// Failures since the last success.
    failures: u32,
    /// Those of them that were events which could not be read.
    unreadable: u32,
    /// It was listed to the end once.
    is_known: bool,
    /// Something came in since the last question.
    is_fresh: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing that was seen counts any more.
    Unlisted,
    /// In the middle of a streamed list.
    Streaming,
    /// Between pages.
    Paging { after: String },
    /// Everything up to this version was seen.
    At { version: String },
}

impl Follower {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            position: Position::Unlisted,
            is_paged: false,
            streams_broken: 0,
            page_max: PAGE_MAX,
            failures: 0,
            unreadable: 0,
            is_known: false,
            is_fresh: false,
        }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How it is doing.
    #[must_use]
    pub const fn condition(&self) -> Condition {
        match (self.is_known, &self.position, self.failures) {
            (true, Position::At { .. }, 0) => Condition::Following,
            (true, _, _) => Condition::Behind,
            (false, _, _) => Condition::Starting,
        }
    }

    /// What to ask now. A list that begins is told to the machine.
    pub fn ask(&mut self, seen: &mut Vec<Seen>) -> Ask {
        self.is_fresh = false;
        match &self.position {
            Position::At { version } => {
                return Ask::Watch {
                    from: version.clone(),
                };
            }
            Position::Paging { after } => {
                return Ask::Page {
                    limit: self.page_max,
                    after: Some(after.clone()),
                };
            }
            // A list that broke off began for nothing.
            Position::Unlisted | Position::Streaming => {}
        }
        seen.push(Seen::Listing {
            resource: self.kind.resource.clone(),
        });
        if self.is_paged {
            self.position = Position::Unlisted;
            return Ask::Page {
                limit: self.page_max,
                after: None,
            };
        }
        self.position = Position::Streaming;
        Ask::StreamedList
    }

    /// A page came.
    pub fn page(&mut self, page: Page, seen: &mut Vec<Seen>) {
        let Page {
            version,
            next,
            items,
        } = page;
        self.succeeded();
        seen.extend(items.into_iter().filter_map(|item| self.kind.present(item)));
        if next.is_empty() {
            self.listed(version, seen);
        } else {
            self.position = Position::Paging { after: next };
        }
    }

    /// A line of a watch came.
    ///
    /// # Errors
    /// The watch is over; hand the error to [`Follower::failed`].
    pub fn event(&mut self, event: Event, seen: &mut Vec<Seen>) -> Result<(), ApiError> {
        let version = match &event {
            Event::Present(object)
            | Event::TooLarge { head: object, .. }
            | Event::Gone(object)
            | Event::Bookmark(object) => version_of(object),
            Event::Error(_) => None,
        };
        match event {
            Event::Error(status) => return Err(ApiError::in_watch(*status)),
            Event::Present(object) => seen.extend(self.kind.present(object)),
            Event::TooLarge { head, bytes } => seen.extend(self.kind.too_large(&head, bytes)),
            Event::Gone(object) => seen.extend(self.kind.gone(&object)),
            Event::Bookmark(object) => {
                let version = version.unwrap_or_default();
                if self.position == Position::Streaming && ends_list(&object) {
                    self.listed(version, seen);
                    self.succeeded();
                    return Ok(());
                }
                self.moved(version);
                self.succeeded();
                return Ok(());
            }
        }
        self.moved(version.unwrap_or_default());
        if self.position != Position::Streaming {
            self.succeeded();
        }
        Ok(())
    }

    /// The watch ended without a word, as they do. Gives the pause before the next question, none
    /// after one that brought something. `luck` is between 0 and 1.
    pub fn ended(&mut self, luck: f64) -> Duration {
        if self.position == Position::Streaming {
            self.stream_broke();
        } else if self.is_fresh {
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        pause(self.failures, luck)
    }

    /// The watch said nothing for too long and was left; what it would have said is asked for again.
    pub const fn silent(&mut self) {
        self.is_fresh = true;
    }

    /// The question, or the watch that answered it, failed. Gives the pause before the next one.
    pub fn failed(&mut self, error: &ApiError, luck: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let class = error.class();
        match (&self.position, class) {
            // Not knowing the parameters of a streamed list is answered so.
            (Position::Streaming, Class::Invalid) => {
                self.is_paged = true;
                self.position = Position::Unlisted;
                return Duration::ZERO;
            }
            // What is no event is said again from the same version, for ever: after that, what there
            // is now is asked for.
            (Position::At { .. }, Class::Malformed) => {
                self.unreadable += 1;
                if self.unreadable >= UNREADABLE_MAX {
                    self.stream_broke();
                }
            }
            // It went silent in the middle, or said what is no event.
            (Position::Streaming, Class::Busy | Class::Malformed) => self.stream_broke(),
            (Position::Streaming, _) => self.position = Position::Unlisted,
            (Position::Unlisted | Position::Paging { .. }, Class::Malformed) => {
                // Most likely too large for one answer.
                self.page_max = (self.page_max / 2).max(PAGE_MIN);
            }
            // Things that are needed are not asked for one by one while a kind cannot be read, so
            // it is listed when it can be.
            (
                Position::Paging { .. } | Position::At { .. },
                Class::Gone | Class::Invalid | Class::Forbidden | Class::NotFound,
            ) => {
                self.position = Position::Unlisted;
            }
            (Position::Unlisted | Position::Paging { .. } | Position::At { .. }, _) => {}
        }
        // The version is too old, which is nobody's fault: what there is now is asked for.
        if class == Class::Gone && self.failures == 1 {
            return Duration::ZERO;
        }
        if matches!(class, Class::Forbidden | Class::NotFound) {
            return spread(PAUSE_REFUSED, luck);
        }
        pause(self.failures, luck).max(error.retry_after().unwrap_or_default())
    }

    /// What was seen may not have been taken in, or is of another cluster: list anew.
    pub fn restart(&mut self) {
        self.position = Position::Unlisted;
    }

    fn listed(&mut self, version: String, seen: &mut Vec<Seen>) {
        seen.push(Seen::Listed {
            resource: self.kind.resource.clone(),
        });
        self.is_known = true;
        self.streams_broken = 0;
        self.position = Position::At { version };
    }

    fn moved(&mut self, to: String) {
        self.is_fresh = true;
        if let Position::At { version } = &mut self.position
            && !to.is_empty()
        {
            *version = to;
        }
    }

    const fn succeeded(&mut self) {
        self.failures = 0;
        self.unreadable = 0;
    }

    fn stream_broke(&mut self) {
        self.position = Position::Unlisted;
        self.streams_broken += 1;
        // Whoever does not know streamed lists may watch instead, and never say that it is complete.
        self.is_paged |= self.streams_broken >= STREAMS_BROKEN_MAX;
    }
}

fn version_of(object: &Value) -> Option<String> {
    let version = object.get("metadata")?.get("resourceVersion")?;
    version.as_str().map(str::to_owned)
}

fn ends_list(bookmark: &Value) -> bool {
    let annotations = bookmark
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    annotations
        .and_then(|annotations| annotations.get(INITIAL_EVENTS_END))
        .and_then(Value::as_str)
        == Some("true")
}

/// The pause after so many failures in a row.
fn pause(failures: u32, luck: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    spread(doubled.min(PAUSE_MAX), luck)
}

/// Between half and all of it, so that those who failed together do not come back together.
fn spread(pause: Duration, luck: f64) -> Duration {
    pause.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
