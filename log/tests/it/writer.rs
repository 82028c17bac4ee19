//! The writer thread: group commit, order, failure, the end.

use std::sync::Arc;

use causeway_log::batch::{Batch, StreamChange};
use causeway_log::record::Op;
use causeway_log::store::conformance::{down, draft, epoch, next};
use causeway_log::store::memory::{Fault, MemoryStore};
use causeway_log::writer::{
    Committed, Machine, Planned, RoundError, Writer, WriterGone, WriterHandle,
};
use causeway_log::{Revision, Store};
use tokio::sync::oneshot;

/// Writes a record per request; `Later` when the round already has the name.
struct Names {
    round: Vec<(String, Answer)>,
    positions: Vec<usize>,
}

type Answer = oneshot::Sender<Result<Revision, String>>;

enum Ask {
    Put(String, Answer),
    Read(Answer),
    Wait(std::sync::mpsc::Receiver<()>),
    Panic,
}

impl Machine for Names {
    type Request = Ask;

    fn plan(&mut self, request: Ask, batch: &mut Batch) -> Planned<Ask> {
        match request {
            Ask::Put(name, answer) => {
                if self.round.iter().any(|(known, _)| *known == name) {
                    return Planned::Later(Ask::Put(name, answer));
                }
                self.positions.push(batch.entries.len());
                batch
                    .entries
                    .push(next(&down(), draft(Op::Put, &name, b"x")));
                self.round.push((name, answer));
            }
            Ask::Read(answer) => {
                self.positions.push(usize::MAX);
                self.round.push((String::new(), answer));
            }
            Ask::Wait(until) => until.recv().expect("the test opens the gate"),
            Ask::Panic => panic!("asked to"),
        }
        Planned::InBatch
    }

    fn committed(&mut self, committed: &Committed<'_>) {
        for ((_, answer), position) in self.round.drain(..).zip(self.positions.drain(..)) {
            let stored = committed.records.get(position);
            let revision = stored.map_or(committed.durable, |stored| stored.revision);
            assert!(revision <= committed.durable, "answered when durable");
            let _ = answer.send(Ok(revision));
        }
    }

    fn failed(&mut self, error: &RoundError) {
        self.positions.clear();
        for (_, answer) in self.round.drain(..) {
            let _ = answer.send(Err(error.to_string()));
        }
    }
}

fn start() -> (Arc<MemoryStore>, Writer, WriterHandle<Ask>) {
    let store = Arc::new(MemoryStore::new());
    let streams = vec![StreamChange::Open {
        stream: down(),
        epoch: epoch(1),
    }];
    store
        .append(&Batch {
            streams,
            ..Batch::default()
        })
        .unwrap();
    store.sync().unwrap();
    let machine = Names {
        round: Vec::new(),
        positions: Vec::new(),
    };
    let (writer, handle) = Writer::spawn("test", Arc::clone(&store) as Arc<dyn Store>, machine);
    (store, writer, handle)
}

type Answered = oneshot::Receiver<Result<Revision, String>>;

fn put(handle: &WriterHandle<Ask>, name: &str) -> Answered {
    let (answer, answered) = oneshot::channel();
    handle
        .send_blocking(Ask::Put(name.to_owned(), answer))
        .unwrap();
    answered
}

#[test]
fn what_waits_shares_one_sync() {
    let (store, writer, handle) = start();
    let (gate, until) = std::sync::mpsc::channel();
    handle.send_blocking(Ask::Wait(until)).unwrap();
    let answers: Vec<_> = (0..100).map(|n| put(&handle, &format!("n{n}"))).collect();
    let before = store.stats().syncs;
    gate.send(()).unwrap();
    let revisions: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.blocking_recv().unwrap().unwrap())
        .collect();
    assert!(revisions.is_sorted());
    assert_eq!(store.stats().syncs, before + 1);
    drop(handle);
    writer.join().unwrap();
}

#[test]
fn a_deferred_request_comes_first_in_the_next_round() {
    let (store, writer, handle) = start();
    let (gate, until) = std::sync::mpsc::channel();
    handle.send_blocking(Ask::Wait(until)).unwrap();
    let before = store.stats().syncs;
    let answers = ["a", "b", "a", "c", "a"].map(|name| put(&handle, name));
    gate.send(()).unwrap();
    let revisions = answers.map(|answer| answer.blocking_recv().unwrap().unwrap());
    assert!(
        revisions.is_sorted_by(|a, b| a < b),
        "requests keep their order"
    );
    assert_eq!(store.stats().syncs, before + 3);
    drop(handle);
    writer.join().unwrap();
}

#[test]
fn what_was_handed_in_before_the_last_handle_went_is_written() {
    let (store, writer, handle) = start();
    let (gate, until) = std::sync::mpsc::channel();
    handle.send_blocking(Ask::Wait(until)).unwrap();
    let answers: Vec<_> = (0..10).map(|n| put(&handle, &format!("n{n}"))).collect();
    drop(handle);
    gate.send(()).unwrap();
    writer.join().unwrap();
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    assert_eq!(store.watermarks().durable.get(), 10);
}

#[test]
fn a_round_without_writes_costs_no_sync() {
    let (store, writer, handle) = start();
    put(&handle, "a").blocking_recv().unwrap().unwrap();
    let before = store.stats().syncs;
    let (answer, answered) = oneshot::channel();
    handle.send_blocking(Ask::Read(answer)).unwrap();
    assert_eq!(
        answered.blocking_recv().unwrap(),
        Ok(store.watermarks().durable)
    );
    assert_eq!(store.stats().syncs, before);
    drop(handle);
    writer.join().unwrap();
}

#[test]
fn a_failed_round_is_refused_and_the_next_after_recovery_is_not() {
    let (store, writer, handle) = start();
    put(&handle, "a").blocking_recv().unwrap().unwrap();
    for (fault, said) in [
        (Fault::Full, "the batch was refused"),
        (Fault::SyncFails, "the batch could not be made durable"),
    ] {
        store.disk().set_fault(fault);
        assert_eq!(
            put(&handle, "b").blocking_recv().unwrap(),
            Err(said.to_owned())
        );
        store.disk().heal();
        let refused = put(&handle, "c").blocking_recv().unwrap();
        assert_eq!(
            refused,
            Err("the batch was refused".to_owned()),
            "until it recovers"
        );
        store.try_recover().unwrap();
        put(&handle, "d").blocking_recv().unwrap().unwrap();
    }
    drop(handle);
    writer.join().unwrap();
}

#[test]
fn a_panic_ends_the_writer_and_is_told() {
    let (_store, writer, handle) = start();
    let (gate, until) = std::sync::mpsc::channel();
    handle.send_blocking(Ask::Wait(until)).unwrap();
    let answered = put(&handle, "a");
    handle.send_blocking(Ask::Panic).unwrap();
    gate.send(()).unwrap();
    answered.blocking_recv().unwrap_err();
    let panic = writer.join().unwrap_err();
    assert_eq!(panic.message, "asked to");
    let (answer, _) = oneshot::channel();
    assert_eq!(handle.send_blocking(Ask::Read(answer)), Err(WriterGone));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(handle.closed());
    assert!(handle.is_closed());
}

#[test]
fn requests_come_from_tasks_too() {
    let (_store, writer, handle) = start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (answer, answered) = oneshot::channel();
        handle.send(Ask::Put("a".to_owned(), answer)).await.unwrap();
        answered.await.unwrap().unwrap();
    });
    drop(handle);
    writer.join().unwrap();
}
