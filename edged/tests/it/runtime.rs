//! The contract of `Runtime`, kept by the process runtime.

use std::time::Duration;

use causeway_edged::runtime::{ContainerState, Mount, Runtime, RuntimeError, Whose};

use crate::harness::{
    Leftovers, eventually, exit, find, is_alive, launch, log, pid, runtime, sandbox, sandbox_id,
    script,
};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_container_runs_and_its_output_environment_and_exit_code_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let mut config = script("echo \"$GREETING from $PWD\"; echo oops >&2; exit 3");
    config.env = vec![("GREETING".to_owned(), "hello".to_owned())];
    let id = launch(&runtime, &config).await;
    let ended = exit(&runtime, &id).await;
    assert_eq!(
        (ended.code, ended.signal, ended.reason.as_str()),
        (3, None, "Error")
    );
    assert!(ended.ran.is_some() && ended.started.is_some());
    let root = std::fs::canonicalize(dir.path().join("run/u1/root/main")).unwrap();
    let mut said = log(dir.path(), "u1", 0);
    said.sort();
    assert_eq!(
        said,
        [
            "stderr F oops".to_owned(),
            format!("stdout F hello from {}", root.display())
        ]
    );
}

#[tokio::test]
async fn nothing_of_the_hosts_environment_is_seen_inside() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let id = launch(&runtime, &script("env | cut -d= -f1 | sort")).await;
    exit(&runtime, &id).await;
    let said = log(dir.path(), "u1", 0);
    let own = [
        "CAUSEWAY_CONTAINER",
        "HOME",
        "HOSTNAME",
        "PATH",
        "POD_ROOT",
        "PWD",
    ];
    for name in &said {
        let name = name.strip_prefix("stdout F ").unwrap();
        assert!(
            own.contains(&name) || name == "_" || name == "SHLVL" || name == "OLDPWD",
            "{name}"
        );
    }
}

#[tokio::test]
async fn mounts_appear_below_the_root_and_paths_inside_are_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let shown = dir.path().join("shown");
    std::fs::create_dir(&shown).unwrap();
    std::fs::write(shown.join("word"), "sesame").unwrap();
    let mut config =
        script("cat \"$POD_ROOT/etc/config/word\" ../etc/config/word; echo; cat $0; echo; pwd");
    config.args = vec!["$(POD_ROOT)/etc/config/word".to_owned()];
    config.working_dir = Some("/srv".to_owned());
    config.mounts = vec![Mount {
        container_path: "/etc/config".to_owned(),
        host_path: shown,
        read_only: true,
    }];
    let id = launch(&runtime, &config).await;
    assert_eq!(exit(&runtime, &id).await.code, 0);
    let said = log(dir.path(), "u1", 0);
    assert_eq!(said[0], "stdout F sesamesesame");
    assert_eq!(said[1], "stdout F sesame");
    assert!(said[2].ends_with("/root/main/srv"), "{}", said[2]);
}

#[tokio::test]
async fn a_mount_that_would_leave_the_root_or_write_into_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let mount = |path: &str| Mount {
        container_path: path.to_owned(),
        host_path: dir.path().to_owned(),
        read_only: false,
    };
    let sandbox = runtime.run_sandbox(&sandbox("u1")).await.unwrap();
    for mounts in [
        vec![mount("/../../up")],
        vec![mount("/etc"), mount("/etc/below")],
    ] {
        let config = causeway_edged::runtime::ContainerConfig {
            mounts,
            ..script("true")
        };
        let refused = runtime
            .create_container(&sandbox, &config)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RuntimeError::Unsupported { .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn names_that_are_paths_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    assert!(runtime.run_sandbox(&sandbox("../u1")).await.is_err());
    assert!(runtime.run_sandbox(&sandbox("..")).await.is_err());
    let id = runtime.run_sandbox(&sandbox("u1")).await.unwrap();
    let mut config = script("true");
    config.name = "../../other".to_owned();
    assert!(runtime.create_container(&id, &config).await.is_err());
}

#[tokio::test]
async fn a_stop_asks_first_and_waits_for_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let text = "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 60 & wait $!; done";
    let id = launch(&runtime, &script(text)).await;
    eventually("ready", || {
        (!log(dir.path(), "u1", 0).is_empty()).then_some(())
    })
    .await;
    let process = pid(dir.path(), &id);
    runtime.stop_container(&id, LONG).await.unwrap();
    assert!(!is_alive(process));
    let ContainerState::Exited(ended) = find(&runtime, &id).await.unwrap().state else {
        panic!("still runs");
    };
    assert_eq!(ended.code, 7);
    let mut said = log(dir.path(), "u1", 0);
    said.retain(|line| line.starts_with("stdout"));
    assert_eq!(said, ["stdout F ready", "stdout F bye"]);
}

#[tokio::test]
async fn who_does_not_listen_is_killed_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let id = launch(
        &runtime,
        &script("trap '' TERM; echo ready; while true; do sleep 60; done"),
    )
    .await;
    eventually("ready", || {
        (!log(dir.path(), "u1", 0).is_empty()).then_some(())
    })
    .await;
    runtime
        .stop_container(&id, Duration::from_millis(100))
        .await
        .unwrap();
    let ended = exit(&runtime, &id).await;
    assert_eq!((ended.code, ended.signal), (137, Some(9)));
}

#[tokio::test]
async fn a_later_stop_shortens_the_grace_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let id = launch(
        &runtime,
        &script("trap '' TERM; echo ready; while true; do sleep 60; done"),
    )
    .await;
    eventually("ready", || {
        (!log(dir.path(), "u1", 0).is_empty()).then_some(())
    })
    .await;
    let patient = runtime.stop_container(&id, Duration::from_secs(3600));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), patient)
            .await
            .is_err()
    );
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(exit(&runtime, &id).await.signal, Some(9));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let sandbox = runtime.run_sandbox(&sandbox("u1")).await.unwrap();
    let mut config = script("");
    config.command = vec!["/does/not/exist".to_owned()];
    let id = runtime.create_container(&sandbox, &config).await.unwrap();
    for _ in 0..2 {
        let refused = runtime.start_container(&id).await.unwrap_err();
        assert!(refused.to_string().contains("/does/not/exist"), "{refused}");
    }
    let ended = exit(&runtime, &id).await;
    assert_eq!((ended.code, ended.reason.as_str()), (128, "StartError"));
    config.command = vec![];
    config.attempt = 1;
    let refused = runtime
        .create_container(&sandbox, &config)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RuntimeError::Unsupported { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn every_call_may_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let config = script("echo once; exec sleep 60");
    let first = launch(&runtime, &config).await;
    let again = launch(&runtime, &config).await;
    assert_eq!(first, again);
    eventually("output", || {
        (!log(dir.path(), "u1", 0).is_empty()).then_some(())
    })
    .await;
    for _ in 0..2 {
        runtime
            .stop_container(&first, Duration::ZERO)
            .await
            .unwrap();
    }
    // Started is started, whether or not it has ended since.
    runtime.start_container(&first).await.unwrap();
    assert_eq!(log(dir.path(), "u1", 0), ["stdout F once"]);
    for _ in 0..2 {
        runtime.remove_container(&first).await.unwrap();
        runtime.stop_sandbox(&sandbox_id()).await.unwrap();
        runtime.remove_sandbox(&sandbox_id()).await.unwrap();
    }
    assert!(runtime.list_sandboxes(Whose::All).await.unwrap().is_empty());
    assert!(!dir.path().join("pods/default_web_u1").try_exists().unwrap());
}

#[tokio::test]
async fn a_running_container_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(dir.path());
    let runtime = runtime(dir.path());
    let id = launch(&runtime, &script("exec sleep 60")).await;
    assert!(runtime.remove_container(&id).await.is_err());
    assert!(runtime.remove_sandbox(&sandbox_id()).await.is_err());
    assert!(is_alive(pid(dir.path(), &id)));
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn what_left_the_containers_process_group_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(dir.path());
    let runtime = runtime(dir.path());
    // `set -m` gives the background job a process group of its own.
    let id = launch(
        &runtime,
        &script("set -m; sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"),
    )
    .await;
    exit(&runtime, &id).await;
    let said = log(dir.path(), "u1", 0);
    let orphan = said
        .iter()
        .find_map(|line| line.strip_prefix("stdout F "))
        .unwrap();
    let orphan: i32 = orphan.parse().unwrap();
    assert!(!is_alive(orphan));
}

#[tokio::test]
async fn a_command_runs_inside_and_is_ended_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let mut config = script("exec sleep 60");
    config.env = vec![("WORD".to_owned(), "sesame".to_owned())];
    let id = launch(&runtime, &config).await;
    let shell = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    let outcome = runtime
        .exec(&id, &shell("echo $WORD; exit 4"), LONG)
        .await
        .unwrap();
    assert_eq!(
        (outcome.code, outcome.output.as_str()),
        (Some(4), "sesame\n")
    );
    let limit = Duration::from_millis(50);
    let outcome = runtime.exec(&id, &shell("sleep 60"), limit).await.unwrap();
    assert_eq!(outcome.code, None);
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
}
