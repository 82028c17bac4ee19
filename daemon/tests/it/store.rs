//! The keeper of a store.

use std::sync::Arc;

use causeway_daemon::store_dir::{History, maintain};
use causeway_daemon::tasks::Shutdown;
use causeway_log::batch::StreamChange;
use causeway_log::store::memory::{Fault, MemoryStore};
use causeway_log::{Batch, Epoch, Store, StreamId};
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn a_store_writes_again_when_space_is_back() {
    let store = Arc::new(MemoryStore::new());
    let open = StreamChange::Open {
        stream: StreamId::Cluster,
        epoch: Epoch::new(Uuid::nil()),
    };
    let batch = Batch {
        streams: vec![open],
        ..Batch::default()
    };
    store.disk().set_fault(Fault::Full);
    store.append(&batch).unwrap_err();
    assert!(store.stats().read_only);

    let shutdown = Shutdown::new();
    let keeper = maintain(
        Arc::clone(&store) as Arc<dyn Store>,
        History::EDGE,
        shutdown.token(),
    );
    // It tries while the disk is full, and goes on trying.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(store.stats().read_only);
    store.disk().heal();
    while store.stats().read_only {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    store.append(&batch).unwrap();
    store.sync().unwrap();
    shutdown.begin();
    keeper.join().await.unwrap();
}
