//! The thermostat of `causeway up`, as a new user tries it. Without kubectl this passes and says
//! so; it belongs to the tier of kubectl.

mod kubectl {
    use std::path::Path;
    use std::process::Command;

    use causeway_simulator::wait::eventually;
    use serde_json::Value;

    use crate::up::{causeway, start, told};
    use crate::world::{PATIENCE, kill_all_below};

    /// It must work; gives what it printed.
    fn kubectl(dir: &Path, arguments: &[&str]) -> String {
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", dir.join("cloud.kubeconfig"))
            .env("HOME", dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the cluster was told of a property.
    fn reported(dir: &Path, property: &str) -> Option<Value> {
        let arguments = ["get", "devicestatuses", "-n", "default", "-o", "json"];
        let list: Value = serde_json::from_str(&kubectl(dir, &arguments)).unwrap();
        let twins = list["items"][0]["status"]["twins"].as_array()?;
        twins
            .iter()
            .find(|twin| twin["propertyName"] == property)
            .cloned()
    }

    /// Waits until the room is that warm, within a degree and a half, because of that wish.
    async fn reaches(dir: &Path, degrees: f64) {
        let what = format!("the room has {degrees} degrees");
        let reached = eventually(&what, PATIENCE, async || {
            let (target, room) = (reported(dir, "target"), reported(dir, "temperature"));
            let seen = format!("{target:?}, {room:?}");
            let number = |value: &Value| value["value"].as_str()?.parse::<f64>().ok();
            let wish = target.and_then(|it| number(&it["observedDesired"]));
            let room = room.and_then(|it| number(&it["reported"]));
            let is_near = |room: f64| (room - degrees).abs() <= 1.5;
            if wish == Some(degrees) && room.is_some_and(is_near) {
                Ok(())
            } else {
                Err(seen)
            }
        });
        reached.await.unwrap();
    }

    fn wish(dir: &Path, degrees: &str) {
        let patch = format!(
            r#"[{{"op":"replace","path":"/spec/properties/0/desired/value","value":"{degrees}"}}]"#
        );
        let arguments = ["patch", "device", "thermostat", "--type=json", "-p", &patch];
        kubectl(dir, &arguments);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_temperature_that_is_wanted_is_reached_and_seen() {
        let mut version = Command::new("kubectl");
        if version.args(["version", "--client"]).output().is_err() {
            println!("skipped: kubectl is not installed");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("road");
        let mut up = start(&dir, &[]);
        told(&mut up).await;
        let said = up.log_tail(1000);
        assert!(said.contains("patch device thermostat"), "{said}");
        reaches(&dir, 21.0).await;
        wish(&dir, "25");
        reaches(&dir, 25.0).await;
        // The mapper outlives the daemon of its node.
        let restarted = causeway(&dir, &["node", "restart", "edge-1"]);
        assert!(restarted.status.success(), "{restarted:?}");
        wish(&dir, "22");
        reaches(&dir, 22.0).await;
        let _ = up.terminate(PATIENCE).await.unwrap();
        kill_all_below(scratch.path());
    }
}
