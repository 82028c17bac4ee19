//! Bringing a receiver to the sender's state when their histories do not join.
//!
//! ```text
//! sender                                              receiver
//!   Start{new epoch, Reconcile{upto}} ─────────────────▶ scans what it holds
//!   ◀───────────────── DigestList, or DigestBuckets when there are many keys
//!   DigestRequest{buckets that differ} ────────────────▶      (buckets only)
//!   ◀───────────────── DigestEntries … last
//!   Drop{1, keys only the receiver has} … ─────────────▶ written in the old epoch
//!   Stage{n, records that differ} … ───────────────────▶ written in the old epoch
//!   ◀───────────────── Staged{n}: durable up to there
//!   End{upto} ─────────────────────────────────────────▶ adopts the epoch and the place
//!   Records{upto, …} …                                   in one write
//! ```
//!
//! The sender's state is that at `upto`, the durable head when it began; what changed later follows
//! as records. Until `End` the receiver stays in its old epoch, where it numbers what it writes
//! behind what it holds; a crash leaves it there, with the progress kept, and the next session
//! reconciles what is still different.
//!
//! Facts that the receiver lacks are sent; facts that only the receiver has are kept. Answers to
//! requests are state like any other: the newest one per key. What only the receiver has becomes a
//! `Delete`, or, in the slots that have none, a record without a body (see [`crate::digest::is_gone`]).

mod sending;
mod staging;

pub(super) use sending::Sending;
pub(super) use staging::Staging;
