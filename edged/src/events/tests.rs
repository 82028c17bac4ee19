use super::*;

fn note(reason: &'static str) -> Note {
    let pod = PodName {
        namespace: "default".into(),
        name: "web".into(),
        uid: "u1".into(),
    };
    let (container, message) = ("main".to_owned(), "it happened".to_owned());
    Note {
        pod,
        container,
        warning: true,
        reason,
        message,
    }
}

const fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

#[test]
fn the_first_of_its_kind_is_told_at_once() {
    let mut recorder = Recorder::new("edge-1".to_owned());
    let object = recorder
        .record(&note("BackOff"), at(5), Timestamp::UNIX_EPOCH)
        .unwrap();
    assert_eq!(object["type"], "Warning");
    assert_eq!(object["count"], 1);
    assert_eq!(
        object["involvedObject"]["fieldPath"],
        "spec.containers{main}"
    );
    assert_eq!(object["firstTimestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(object["source"]["host"], "edge-1");
    assert!(
        recorder
            .record(&note("Killing"), at(5), Timestamp::UNIX_EPOCH)
            .is_some()
    );
}

#[test]
fn repetitions_are_counted_and_told_ever_more_rarely() {
    let mut recorder = Recorder::new("edge-1".to_owned());
    let mut told = Vec::new();
    for second in 0..100 {
        if let Some(event) = recorder.record(&note("BackOff"), at(second), Timestamp::UNIX_EPOCH) {
            told.push((second, event["count"].as_u64().unwrap()));
        }
    }
    assert_eq!(told, [(0, 1), (10, 11), (30, 31), (70, 71)]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut recorder = Recorder::new("edge-1".to_owned());
    for number in 0..2 * REMEMBERED_MAX {
        let mut note = note("BackOff");
        note.pod.uid = format!("u{number}");
        recorder.record(&note, at(number as u64), Timestamp::UNIX_EPOCH);
        assert!(recorder.series.len() <= REMEMBERED_MAX);
    }
}

#[test]
fn a_full_queue_drops_and_does_not_block() {
    let (notes, mut queue) = Notes::channel();
    for _ in 0..2 * QUEUE_MAX {
        notes.tell(note("BackOff"));
    }
    let mut waiting = 0;
    while queue.try_recv().is_ok() {
        waiting += 1;
    }
    assert_eq!(waiting, QUEUE_MAX);
}
