use causeway_daemon::tasks::Shutdown;
use causeway_log::{NodeName, Offset, WallTime};

use super::{Hub, Presence};

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

const NOW: WallTime = WallTime::from_unix_millis(1000);

#[test]
fn the_newest_session_that_gets_through_its_handshake_has_the_node() {
    let (hub, stop) = (Hub::new(10), Shutdown::new());
    let admit = || hub.admit(&node("n1"), stop.token()).unwrap().0;
    let first = admit();
    first.take_over(NOW);
    let garbage = admit();
    assert!(
        hub.is_current(&node("n1"), first.number()),
        "a connection alone takes nothing"
    );
    let second = admit();
    second.take_over(NOW);
    assert!(!hub.is_current(&node("n1"), first.number()));
    garbage.take_over(NOW);
    assert!(
        hub.is_current(&node("n1"), second.number()),
        "an older one takes nothing back"
    );
    first.leave("fenced", NOW);
    assert!(hub.is_connected(&node("n1")));
    second.leave("gone", NOW);
    assert!(!hub.is_connected(&node("n1")));
    assert_eq!(hub.shown(&node("n1")).last, Some((NOW, "gone".to_owned())));
}

#[test]
fn there_is_room_for_so_many() {
    let (hub, stop) = (Hub::new(2), Shutdown::new());
    let one = hub.admit(&node("n1"), stop.token()).unwrap();
    let _two = hub.admit(&node("n2"), stop.token()).unwrap();
    let refused = hub.admit(&node("n3"), stop.token()).unwrap_err();
    assert!(!refused.retry_after.is_zero());
    drop(one);
    assert!(hub.admit(&node("n3"), stop.token()).is_ok());
}

#[test]
fn connections_that_came_to_nothing_leave_nothing() {
    let (hub, stop) = (Hub::new(2), Shutdown::new());
    for n in 0..100 {
        let _seat = hub.admit(&node(&format!("n{n}")), stop.token()).unwrap();
    }
    assert_eq!(hub.sessions(), 0);
    assert!(hub.state.lock().nodes.is_empty());
    assert!(matches!(hub.presence(&node("n1")), Presence::Away { .. }));
}

#[test]
fn a_session_that_is_dropped_without_a_word_gives_the_node_free() {
    let (hub, stop) = (Hub::new(2), Shutdown::new());
    let (seat, _control) = hub.admit(&node("n1"), stop.token()).unwrap();
    seat.take_over(NOW);
    drop(seat);
    assert!(!hub.is_connected(&node("n1")));
}

#[test]
fn heads_only_move_forward_and_wake_the_session() {
    let (hub, stop) = (Hub::new(2), Shutdown::new());
    let (seat, _control) = hub.admit(&node("n1"), stop.token()).unwrap();
    let mut head = seat.head.clone();
    hub.tell_head(&node("n1"), Offset::new(7));
    assert!(head.has_changed().unwrap());
    assert_eq!(*head.borrow_and_update(), Offset::new(7));
    hub.tell_head(&node("n1"), Offset::new(5));
    assert!(!head.has_changed().unwrap());
    hub.tell_head(&node("n2"), Offset::new(9));
}

#[test]
fn lag_counts_from_the_first_look_that_finds_it() {
    let (hub, stop) = (Hub::new(2), Shutdown::new());
    let (seat, _control) = hub.admit(&node("n1"), stop.token()).unwrap();
    seat.take_over(NOW);
    let at = |millis| WallTime::from_unix_millis(millis);
    let look = |head, millis| {
        let lag = hub.lag(&node("n1"), Offset::new(head), Offset::new(5), at(millis));
        (lag.offsets, lag.millis)
    };
    assert_eq!(look(5, 1000), (0, 0));
    assert_eq!(look(9, 2000), (4, 0));
    assert_eq!(look(9, 5000), (4, 3000));
    seat.stats
        .acked
        .store(9, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(look(9, 6000), (0, 0));
}
