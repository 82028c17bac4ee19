//! What shares a round, and what becomes of it.

use super::*;

#[test]
fn a_name_is_decided_once_a_round() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let (first, mut first_told) = local(create(&key, config_map("1")));
    let (second, mut second_told) = local(create(&key, config_map("2")));
    let later = bench.round([first, second]).expect("the second waits");
    assert!(first_told.try_recv().unwrap().is_ok());
    assert!(second_told.try_recv().is_err(), "not answered yet");
    bench.round([later]);
    assert!(matches!(
        second_told.try_recv(),
        Ok(Err(WriteError::Conflict { found: Some(_) }))
    ));
}

#[test]
fn what_arrives_is_seen_before_a_local_write_is_decided() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let record = (
        Offset::new(10),
        draft(&key, Op::Put, &config_map("cloud"), None),
    );
    let (arriving, _told) = incoming(epoch(2), vec![record]);
    let (write, mut told) = local(create(&key, config_map("edge")));
    let later = bench.round([arriving, write]).expect("the write waits");
    bench.round([later]);
    assert!(matches!(
        told.try_recv(),
        Ok(Err(WriteError::Conflict { found: Some(_) }))
    ));
}

#[test]
fn an_epoch_begins_a_batch() {
    let mut bench = Bench::new();
    let record = |offset| {
        let key = key("configmaps", "c");
        vec![(
            Offset::new(offset),
            draft(&key, Op::Put, &config_map("1"), None),
        )]
    };
    let (old, mut old_told) = incoming(epoch(2), record(10));
    let (new, mut new_told) = incoming(epoch(3), record(5));
    let later = bench.round([old, new]).expect("the new epoch waits");
    old_told.try_recv().unwrap().unwrap();
    assert_eq!(bench.info(&down()).epoch, epoch(2));
    bench.round([later]);
    new_told.try_recv().unwrap().unwrap();
    assert_eq!(bench.info(&down()).epoch, epoch(3));
    assert_eq!(bench.info(&down()).received, Offset::new(5));
}

#[test]
fn an_acknowledgement_travels_with_the_next_batch() {
    let mut bench = Bench::new();
    let pod_key = key("pods", "p");
    bench.desire(&pod_key, Op::Put, &pod("edge-1"), None);
    let report = bench.now(
        &pod_key,
        Change::Status(with_status(pod("edge-1"), "Running")),
    );
    let upto = bench.write(report).unwrap().revision.as_own_offset();
    let syncs = bench.store.stats().syncs;
    let (acked, mut told) = session(SessionWrite::Acked { upto });
    bench.round([acked]);
    told.try_recv().unwrap().unwrap();
    assert_eq!(
        (bench.store.stats().syncs, bench.info(&up()).acked),
        (syncs, Offset::ZERO)
    );
    bench
        .write(create(&key("configmaps", "c"), config_map("1")))
        .unwrap();
    assert_eq!(bench.info(&up()).acked, upto);
}

#[test]
fn a_new_own_epoch_forgets_the_acknowledgement() {
    let mut bench = Bench::new();
    bench
        .write(create(&key("configmaps", "c"), config_map("1")))
        .unwrap();
    let (acked, _told) = session(SessionWrite::Acked {
        upto: *bench.up_head.borrow(),
    });
    bench.round([acked]);
    let (open, mut told) = session(SessionWrite::OpenOwn { epoch: epoch(9) });
    bench.round([open]);
    told.try_recv().unwrap().unwrap();
    bench
        .write(create(&key("configmaps", "dd"), config_map("2")))
        .unwrap();
    assert_eq!(bench.info(&up()).epoch, epoch(9));
    assert_eq!(bench.info(&up()).acked, Offset::ZERO);
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reading() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    bench.store.disk().set_fault(Fault::Full);
    let report = || Change::Status(with_status(pod("edge-1"), "Running"));
    let refused = bench.write(bench.now(&key, report()));
    assert!(
        matches!(refused, Err(WriteError::ReadOnly { .. })),
        "{refused:?}"
    );
    assert!(bench.served(&key).is_some());
    let (arriving, mut told) = incoming(epoch(2), Vec::new());
    bench.round([arriving]);
    assert_eq!(
        told.try_recv(),
        Ok(Ok(())),
        "nothing was asked to be written"
    );
    let place = Incoming {
        epoch: epoch(2),
        records: Vec::new(),
        upto: Some(Offset::new(10)),
        caught_up: true,
    };
    let (place, mut told) = session(SessionWrite::Incoming(place));
    bench.round([place]);
    let refused = told.try_recv().unwrap();
    assert!(
        matches!(refused, Err(WriteRefused::ReadOnly { .. })),
        "{refused:?}"
    );

    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    bench.write(bench.now(&key, report())).unwrap();
    assert_eq!(bench.served(&key).unwrap()["status"]["phase"], "Running");
}

#[test]
fn a_rebuild_serves_the_same() {
    let mut bench = Bench::new();
    let (map, own, gone) = (key("configmaps", "c"), key("pods", "p"), key("pods", "pp"));
    bench.desire(&map, Op::Put, &config_map("1"), None);
    bench.desire(&own, Op::Put, &pod("edge-1"), None);
    bench.desire(&gone, Op::Put, &pod("edge-1"), None);
    bench
        .write(bench.now(&map, Change::Put(config_map("2"))))
        .unwrap();
    let report = Change::Status(with_status(pod("edge-1"), "Running"));
    bench.write(bench.now(&own, report)).unwrap();
    let finish = Change::Delete {
        grace_period_seconds: Some(0),
        confirm: true,
    };
    bench.write(bench.now(&gone, finish)).unwrap();
    let rebuilt = rebuild(&*bench.store, &[down(), up()]).unwrap();
    bench.view.read(|objects| {
        assert_eq!(objects.revision(), rebuilt.revision());
        for resource in [&map.resource, &own.resource] {
            let served = objects.list(resource, None, None).map(|it| it.object());
            let again = rebuilt.list(resource, None, None).map(|it| it.object());
            assert_eq!(served.collect::<Vec<_>>(), again.collect::<Vec<_>>());
        }
    });
}

/// A page of the cloud's stream that leads to `upto`, the last of the session's backlog or not.
fn page(upto: u64, caught_up: bool) -> (Request, SessionAnswer) {
    session(SessionWrite::Incoming(Incoming {
        epoch: epoch(2),
        records: Vec::new(),
        upto: Some(Offset::new(upto)),
        caught_up,
    }))
}

#[test]
fn the_copy_is_whole_once_the_backlog_of_a_session_is_durable() {
    let mut bench = Bench::new();
    let restarted = |bench: &Bench| FirstSync::read(&*bench.store, &node()).unwrap().is_done();
    assert!(!bench.first_sync.is_done());
    bench.round([page(10, false).0]);
    assert!(!bench.first_sync.is_done());
    assert!(
        !restarted(&bench),
        "half a copy is none, after a restart too"
    );
    bench.store.disk().set_fault(Fault::Full);
    bench.round([page(20, true).0]);
    assert!(!bench.first_sync.is_done(), "nothing of it is durable");
    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    bench.round([page(20, true).0]);
    assert!(bench.first_sync.is_done());
    assert!(restarted(&bench));
    bench.round([page(30, false).0]);
    assert!(restarted(&bench), "an old copy is whole, too");
}
