use super::*;

#[tokio::test]
async fn a_panic_ends_only_its_task() {
    let task: Task<()> = spawn("faulty", async { panic!("boom") });
    assert_eq!(task.join().await, None);
    assert_eq!(spawn("fine", async { 7 }).join().await, Some(7));
}

#[tokio::test]
async fn dropping_a_task_aborts_it() {
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let task = spawn("held", async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    });
    drop(task);
    assert!(gone.await.is_err(), "the future was dropped");
}

#[tokio::test]
async fn a_stop_token_fires_once_and_for_all() {
    let shutdown = Shutdown::new();
    let (mut early, other) = (shutdown.token(), shutdown.token());
    assert!(!early.is_set());
    shutdown.begin();
    early.wait().await;
    shutdown.token().wait().await;
    assert!(other.is_set());
}

#[tokio::test]
async fn losing_every_shutdown_stops() {
    let shutdown = Shutdown::new();
    let mut stop = shutdown.token();
    drop(shutdown);
    stop.wait().await;
    assert!(stop.is_set());
}
