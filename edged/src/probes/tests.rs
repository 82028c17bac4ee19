use serde_json::json;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn id() -> ContainerId {
    ContainerId("u1/main.0".to_owned())
}

fn probes(container: &serde_json::Value) -> Probes {
    let mut probes = Probes::default();
    probes.follow("u1", &id(), &ProbeSpec::read(container), at(0));
    probes
}

/// Asks and answers everything that is due at each second; says what was asked.
fn run(
    probes: &mut Probes,
    seconds: std::ops::Range<u64>,
    well: impl Fn(ProbeKind) -> bool,
) -> Vec<(u64, ProbeKind)> {
    let mut asked = Vec::new();
    for second in seconds {
        for question in probes.poll_due(at(second)) {
            let answer = if well(question.kind) {
                Ok(())
            } else {
                Err("no".to_owned())
            };
            probes.handle_answer(&id(), question.kind, answer, at(second));
            asked.push((second, question.kind));
        }
    }
    asked
}

const TCP: fn() -> serde_json::Value = || json!({"port": 80});

#[test]
fn a_container_without_probes_is_well_as_soon_as_it_runs() {
    let probes = probes(&json!({}));
    assert_eq!(
        probes.health(&id()),
        Health {
            started: true,
            ready: true,
            unhealthy: None
        }
    );
    assert_eq!(probes.poll_timeout(), None);
}

#[test]
fn readiness_comes_and_goes_with_its_thresholds() {
    let spec = json!({"readinessProbe": {"tcpSocket": TCP(), "periodSeconds": 5,
        "initialDelaySeconds": 3, "successThreshold": 2, "failureThreshold": 2}});
    let mut probes = probes(&spec);
    assert!(!probes.health(&id()).ready);
    assert_eq!(probes.poll_timeout(), Some(at(3)));
    let asked = run(&mut probes, 0..9, |_| true);
    assert_eq!(
        asked,
        [(3, ProbeKind::Readiness), (8, ProbeKind::Readiness)]
    );
    assert!(probes.health(&id()).ready);
    run(&mut probes, 9..14, |_| false);
    assert!(probes.health(&id()).ready);
    run(&mut probes, 14..19, |_| false);
    assert!(!probes.health(&id()).ready);
    assert_eq!(probes.health(&id()).unhealthy, None);
}

#[test]
fn liveness_that_fails_too_often_asks_for_a_restart() {
    let spec = json!({"livenessProbe": {"tcpSocket": TCP(), "periodSeconds": 1}});
    let mut probes = probes(&spec);
    run(&mut probes, 0..2, |_| false);
    assert_eq!(probes.health(&id()).unhealthy, None);
    run(&mut probes, 2..3, |_| false);
    let unhealthy = probes.health(&id()).unhealthy.unwrap();
    assert_eq!(unhealthy, "failed liveness probe: no");
}

#[test]
fn the_others_wait_for_the_startup_probe() {
    let tcp = json!({"tcpSocket": TCP(), "periodSeconds": 1});
    let spec = json!({"startupProbe": tcp, "livenessProbe": tcp, "readinessProbe": tcp});
    let mut probes = probes(&spec);
    let asked = run(&mut probes, 0..2, |_| false);
    assert!(
        asked.iter().all(|(_, kind)| *kind == ProbeKind::Startup),
        "{asked:?}"
    );
    assert!(!probes.health(&id()).started);
    run(&mut probes, 2..3, |_| true);
    assert!(probes.health(&id()).started && !probes.health(&id()).ready);
    let asked = run(&mut probes, 3..4, |_| true);
    assert_eq!(asked, [(3, ProbeKind::Readiness), (3, ProbeKind::Liveness)]);
    assert!(probes.health(&id()).ready);
}

#[test]
fn a_question_is_asked_once_until_it_is_answered() {
    let mut probes = probes(&json!({"livenessProbe": {"tcpSocket": TCP()}}));
    assert_eq!(probes.poll_due(at(0)).len(), 1);
    assert_eq!(probes.poll_due(at(60)).len(), 0);
    assert_eq!(probes.poll_timeout(), None);
    probes.handle_answer(&id(), ProbeKind::Liveness, Ok(()), at(61));
    assert_eq!(probes.poll_timeout(), Some(at(71)));
    // An answer about a container that is gone.
    probes.retain("u1", |_| false);
    let verdict = probes.handle_answer(&id(), ProbeKind::Liveness, Ok(()), at(61));
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn probes_are_read_with_named_ports_and_hostile_headers_left_out() {
    let container = json!({
        "ports": [{"name": "web", "containerPort": 8080}],
        "livenessProbe": {"httpGet": {"port": "web", "path": "/live", "httpHeaders": [
            {"name": "A", "value": "b"}, {"name": "X", "value": "y\r\nZ: z"}]}},
        "readinessProbe": {"grpc": {"port": 1}},
        "startupProbe": {"tcpSocket": {"port": "nowhere"}},
    });
    let spec = ProbeSpec::read(&container);
    let headers = vec![("A".to_owned(), "b".to_owned())];
    let (host, path) = (String::new(), "/live".to_owned());
    assert_eq!(
        spec.liveness.unwrap().check,
        Check::Http {
            host,
            port: 8080,
            path,
            headers
        }
    );
    assert!(matches!(
        spec.readiness.unwrap().check,
        Check::Unsupported(_)
    ));
    assert!(matches!(spec.startup.unwrap().check, Check::Unsupported(_)));
}
