//! The socket itself: what is found at its path, and what becomes of it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::messages::MapperInfo;
use causeway_dmi::messages::MapperRegisterRequest;
use causeway_dmi::{Door, ManagerClient, serve_manager};
use tokio::sync::{mpsc, oneshot};

use super::{TIMEOUT, Told};

fn request() -> MapperRegisterRequest {
    MapperRegisterRequest {
        with_data: false,
        mapper: Some(MapperInfo::default()),
    }
}

async fn calls(socket: &Path) -> bool {
    let client = ManagerClient::new(socket, TIMEOUT).unwrap();
    client.mapper_register(request()).await.is_ok()
}

#[tokio::test]
async fn a_socket_that_is_removed_is_made_again_and_connections_stay() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dmi.sock");
    let (tell, _told) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel::<()>();
    let door = Door::open(&socket).unwrap();
    let served = serve_manager(
        door.looking_every(Duration::from_millis(5)),
        Arc::new(Told(tell)),
        async move { stopped.await.unwrap_or_default() },
    );
    let test = async {
        let early = ManagerClient::new(&socket, TIMEOUT).unwrap();
        early.mapper_register(request()).await.unwrap();
        std::fs::remove_file(&socket).unwrap();
        while !calls(&socket).await {
            tokio::task::yield_now().await;
        }
        early.mapper_register(request()).await.unwrap();
        assert_eq!(*early.connections().borrow(), 1, "it still stands");

        // What is no socket is not removed; once it is gone, the socket is back.
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(&socket, "mine").unwrap();
        assert!(!calls(&socket).await);
        assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
        std::fs::remove_file(&socket).unwrap();
        while !calls(&socket).await {
            tokio::task::yield_now().await;
        }
        drop((stop, early));
    };
    let (served, ()) = tokio::join!(served, test);
    served.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_left_is_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dmi.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let door = Door::open(&socket).unwrap();
    let in_use = Door::open(&socket).unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    drop(door);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "mine").unwrap();
    let no_socket = Door::open(&socket).unwrap_err();
    assert_eq!(no_socket.kind(), ErrorKind::AlreadyExists);
    assert!(Door::open(&dir.path().join("no").join("dmi.sock")).is_err());
}
