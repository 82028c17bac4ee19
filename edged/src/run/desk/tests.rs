use serde_json::json;

use super::*;

fn config(name: &str, version: u64, word: &str) -> Value {
    json!({"metadata": {"namespace": "default", "name": name,
        "resourceVersion": version.to_string()}, "data": {"word": word}})
}

fn pod(uid: &str, version: u64) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "web", "uid": uid,
            "resourceVersion": version.to_string()},
        "spec": {"volumes": [{"name": "v", "configMap": {"name": "wanted"}}]},
    })
}

fn reference(name: &str) -> ConfigRef {
    let (namespace, name) = ("default".to_owned(), name.to_owned());
    ConfigRef {
        kind: ConfigKind::ConfigMap,
        namespace,
        name,
    }
}

fn word(desk: &Desk) -> Option<Option<String>> {
    let known = desk.configs.known.get(&reference("wanted"))?;
    Some(
        known
            .as_ref()
            .map(|data| String::from_utf8(data["word"].to_vec()).unwrap()),
    )
}

fn desk() -> Desk {
    let mut desk = Desk::default();
    desk.handle_pods(Reflected::Replace(vec![pod("u1", 1)]));
    assert_eq!(desk.take_unknown(), [reference("wanted")].into());
    desk
}

const KIND: ConfigKind = ConfigKind::ConfigMap;

#[test]
fn only_what_pods_refer_to_is_kept() {
    let mut desk = desk();
    desk.handle_configs(KIND, &Reflected::Applied(config("other", 3, "x")));
    desk.handle_configs(KIND, &Reflected::Applied(config("wanted", 4, "one")));
    assert_eq!(desk.configs.known.len(), 1);
    desk.handle_pods(Reflected::Applied(pod("u2", 2)));
    assert!(desk.take_unknown().is_empty());
    desk.handle_pods(Reflected::Deleted(pod("u2", 3)));
    assert!(desk.configs.known.is_empty() && desk.versions.is_empty());
    assert!(desk.users.is_empty() && desk.names.is_empty());
}

#[test]
fn news_of_config_is_for_those_who_refer_to_it() {
    let mut desk = desk();
    let web = [("default".to_owned(), "web".to_owned())];
    let news = |desk: &mut Desk, told| desk.handle_configs(KIND, &told);
    let one = |version| Reflected::Applied(config("wanted", version, "one"));
    assert_eq!(news(&mut desk, one(4)), web);
    assert!(news(&mut desk, one(5)).is_empty(), "nothing changed");
    assert!(news(&mut desk, Reflected::Applied(config("other", 6, "x"))).is_empty());
    let gone = Reflected::Deleted(config("wanted", 7, "one"));
    assert_eq!(news(&mut desk, gone), web);
    assert_eq!(news(&mut desk, Reflected::Replace(vec![])), []);
    // Nobody refers to it any more.
    let mut other = pod("u1", 8);
    other["spec"] = json!({});
    desk.handle_pods(Reflected::Applied(other));
    assert!(news(&mut desk, one(9)).is_empty());
}

#[test]
fn what_could_not_be_asked_is_asked_again() {
    let mut desk = desk();
    assert!(desk.take_unknown().is_empty());
    desk.ask_again(reference("wanted"));
    desk.ask_again(reference("other"));
    assert_eq!(desk.take_unknown(), [reference("wanted")].into());
    desk.handle_found(reference("wanted"), None);
    desk.ask_again(reference("wanted"));
    assert!(desk.take_unknown().is_empty());
}

#[test]
fn a_list_of_pods_tells_of_those_that_are_gone() {
    let mut desk = desk();
    let told = desk.handle_pods(Reflected::Replace(vec![]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].uid, "u1");
    assert!(desk.names().next().is_none());
}

#[test]
fn answers_that_cross_leave_the_newest() {
    let mut desk = desk();
    desk.handle_configs(KIND, &Reflected::Applied(config("wanted", 5, "new")));
    desk.handle_found(reference("wanted"), Some(&config("wanted", 4, "old")));
    assert_eq!(word(&desk), Some(Some("new".to_owned())));
    desk.handle_configs(KIND, &Reflected::Deleted(config("wanted", 6, "new")));
    desk.handle_found(reference("wanted"), Some(&config("wanted", 5, "new")));
    assert_eq!(word(&desk), Some(None));
    desk.handle_configs(KIND, &Reflected::Applied(config("wanted", 7, "again")));
    desk.handle_found(reference("wanted"), None);
    assert_eq!(word(&desk), Some(Some("again".to_owned())));
}

#[test]
fn a_list_says_what_is_gone() {
    let mut desk = desk();
    desk.handle_configs(KIND, &Reflected::Applied(config("wanted", 500, "one")));
    desk.handle_configs(KIND, &Reflected::Replace(vec![config("other", 3, "x")]));
    assert_eq!(word(&desk), Some(None));
    // The numbers of a store that was made anew begin small.
    desk.handle_configs(KIND, &Reflected::Replace(vec![config("wanted", 3, "two")]));
    assert_eq!(word(&desk), Some(Some("two".to_owned())));
}

#[test]
fn the_end_of_an_old_life_does_not_take_the_new_one_away() {
    let mut desk = Desk::default();
    assert!(!desk.is_told());
    desk.handle_pods(Reflected::Replace(vec![pod("u1", 1)]));
    desk.handle_pods(Reflected::Applied(pod("u2", 2)));
    desk.handle_pods(Reflected::Deleted(pod("u1", 1)));
    assert!(desk.pod("u2").is_some());
    assert!(desk.pod("u1").is_none());
    desk.handle_pods(Reflected::Deleted(pod("u2", 3)));
    assert!(desk.names().next().is_none());
}
