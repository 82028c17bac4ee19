use causeway_daemon::session_driver::Counts;
use causeway_log::replication::Close;

use super::*;

fn end(reason: EndReason, established: bool, seconds: u64) -> SessionEnd {
    let lasted = Duration::from_secs(seconds);
    SessionEnd {
        reason,
        established,
        lasted,
        counts: Counts::default(),
    }
}

fn closed(code: CloseCode, retry_after: Option<Duration>) -> EndReason {
    EndReason::Closed(Close {
        code,
        reason: "because".to_owned(),
        retry_after,
        by_peer: true,
    })
}

#[test]
fn a_lost_session_that_stood_is_dialed_again_soon() {
    assert!(ended(&end(EndReason::Lost("cut".to_owned()), true, 0)).alive);
    assert!(!ended(&end(EndReason::Lost("cut".to_owned()), false, 0)).alive);
}

#[test]
fn a_session_that_is_refused_at_once_waits_longer_and_longer() {
    assert!(!ended(&end(closed(CloseCode::Fenced, None), true, 0)).alive);
    assert!(ended(&end(closed(CloseCode::Fenced, None), true, 3600)).alive);
    assert!(ended(&end(closed(CloseCode::GoingAway, None), true, 0)).alive);
}

#[test]
fn the_cloud_may_ask_for_a_pause() {
    let pause = Some(Duration::from_secs(60));
    let outcome = ended(&end(closed(CloseCode::Overloaded, pause), false, 0));
    assert_eq!(outcome.retry_after, pause);
    assert_eq!(
        outcome.error.as_deref(),
        Some("closed (Overloaded): because")
    );
}
