use causeway_kube_api::Status;
use causeway_log::{EventId, Header, Key, NodeName, Offset, Op, Record, Uid, Version, WallTime};
use causeway_projections::Verb;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Verdict;
use crate::kube::writeback::call::{Call, CallError, Content, Identity, Method, Place};
use crate::kube::writeback::edit::{Asked, REQUEST_ANNOTATION};
use crate::kube::writeback::judge::{Meaning, judge};
use crate::kube::writeback::work::{Finished, Turn, Work};
use crate::rig;
use crate::writeback::Outcome;
use crate::writeback::ground::{Earlier, Ground, Mark};

fn refused(code: u16, reason: &str, message: &str) -> CallError {
    CallError::Refused {
        status: Box::new(Status::failure(code, reason, message)),
        retry_after: None,
    }
}

fn exists() -> CallError {
    refused(409, "AlreadyExists", "it exists")
}

fn gone() -> CallError {
    refused(404, "NotFound", "not found")
}

#[test]
fn every_answer_has_a_meaning() {
    let uid = "Precondition failed: UID in precondition: a, UID in object meta: b";
    let denied =
        "pods \"p\" is forbidden: User \"system:node:n1\" cannot patch resource \"pods/status\"";
    let impersonate = "users \"system:node:n1\" is forbidden: User \"cloud\" cannot impersonate resource \"users\"";
    let unavailable = Meaning::Unavailable { retry_after: None };
    for (code, reason, message, meaning) in [
        (400, "BadRequest", "", Meaning::Never),
        (401, "Unauthorized", "", Meaning::Misconfigured),
        (
            403,
            "Forbidden",
            "pods \"p\" is forbidden: node \"n1\" can only create mirror pods",
            Meaning::Never,
        ),
        (
            403,
            "Forbidden",
            "pods \"p\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself",
            Meaning::Gone,
        ),
        (
            403,
            "Forbidden",
            "pods \"p\" is forbidden: node \"n1\" can only create pods with spec.nodeName set to itself",
            Meaning::Never,
        ),
        (403, "Forbidden", denied, Meaning::Denied),
        (403, "Forbidden", impersonate, Meaning::Misconfigured),
        (404, "NotFound", "", Meaning::Gone),
        (405, "MethodNotAllowed", "", Meaning::Never),
        (408, "Timeout", "", unavailable),
        (409, "AlreadyExists", "", Meaning::Exists),
        (
            409,
            "Conflict",
            "the object has been modified",
            Meaning::Conflict,
        ),
        (409, "Conflict", uid, Meaning::Gone),
        (413, "RequestEntityTooLarge", "", Meaning::Never),
        (415, "UnsupportedMediaType", "", Meaning::Never),
        (422, "Invalid", "", Meaning::Never),
        (429, "TooManyRequests", "", unavailable),
        (
            500,
            "InternalError",
            "etcdserver: request timed out",
            unavailable,
        ),
        (500, "", "etcdserver: request is too large", Meaning::Never),
        (
            500,
            "",
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2307201 vs. 2097152)",
            Meaning::Never,
        ),
        (503, "ServiceUnavailable", "", unavailable),
        (504, "Timeout", "", unavailable),
    ] {
        assert_eq!(
            judge(&refused(code, reason, message)),
            meaning,
            "{code} {message}"
        );
    }
    let source = "broken".into();
    assert_eq!(judge(&CallError::NoAnswer { source }), unavailable);
}

fn call() -> Call {
    Place::core("pods", "default", "till").patch(
        Identity::Cloud,
        "status",
        Content::MergePatch,
        json!({}),
    )
}

fn over(turn: Turn) -> Finished {
    let Turn::Finished(finished) = turn else {
        panic!("it is not over: {turn:?}")
    };
    finished
}

fn next(turn: Turn) -> Work {
    let Turn::Next(work) = turn else {
        panic!("there is nothing more to call: {turn:?}")
    };
    work
}

#[test]
fn a_report_is_over_whichever_way_it_can_be() {
    for (answer, outcome) in [
        (Ok(json!({})), Outcome::Applied),
        (Err(exists()), Outcome::Unchanged),
        (Err(gone()), Outcome::Stale),
        (Err(refused(422, "Invalid", "")), Outcome::Refused),
    ] {
        assert_eq!(over(Work::report(call()).answered(answer)).outcome, outcome);
    }
    let turn = Work::report(call()).answered(Err(refused(503, "", "")));
    assert!(matches!(turn, Turn::Failed(Meaning::Unavailable { .. }, _)));
}

/// Nobody is told: it is as it should be.
#[test]
fn the_end_of_a_pod_that_is_gone_is_no_trouble() {
    let uid = "Operation cannot be fulfilled on pods \"p\": StorageError: invalid object, Code: 4, \
               Key: /registry/pods/shop/p, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
               failed: UID in precondition: a, UID in object meta: ";
    let elsewhere = "pods \"p\" is forbidden: node \"n1\" can only delete pods with \
                     spec.nodeName set to itself";
    for error in [
        gone(),
        refused(409, "Conflict", uid),
        refused(403, "Forbidden", elsewhere),
    ] {
        let finished = over(Work::report(call()).answered(Err(error)));
        assert_eq!(finished.outcome, Outcome::Stale);
        assert!(finished.refusal.is_none(), "{:?}", finished.refusal);
    }
}

fn registration() -> Work {
    let object = json!({"metadata": {"name": "n1", "labels": {"shop": "7"}}});
    let node = NodeName::new("n1").unwrap();
    Work::register(node, object, rig::key("nodes", "", "n1"))
}

#[test]
fn a_node_registers_and_is_marked_as_an_edge() {
    let work = registration();
    assert_eq!(
        (work.call().method, work.call().path.as_str()),
        (Method::Post, "/api/v1/nodes")
    );
    let mark = next(work.answered(Ok(json!({}))));
    assert_eq!(mark.call().identity, Identity::Cloud);
    let node = json!({"metadata": {"name": "n1", "uid": "uid-of-server", "resourceVersion": "12", "managedFields": []},
        "status": {"big": true}});
    let Some(Verdict::Accepted { made: Some(made) }) = over(mark.answered(Ok(node))).verdict else {
        panic!("it is accepted")
    };
    assert_eq!(
        made.key.uid,
        Uid::parse("uid-of-server"),
        "the API server gives the life"
    );
    assert_eq!(
        (made.version, &made.object),
        (
            Some(12),
            &json!({"metadata": {"name": "n1", "uid": "uid-of-server"}})
        )
    );
}

#[test]
fn a_node_that_is_there_is_adopted_and_one_that_went_is_made() {
    let adopt = next(registration().answered(Err(exists())));
    let call = adopt.call();
    assert_eq!(
        (call.method, call.path.as_str()),
        (Method::Patch, "/api/v1/nodes/n1")
    );
    assert_eq!(call.body.unwrap()["metadata"]["labels"]["shop"], "7");
    assert_eq!(next(adopt.answered(Err(gone()))), registration());
}

#[test]
fn a_label_that_cannot_be_set_refuses_no_node() {
    let mark = next(registration().answered(Ok(json!({}))));
    let finished = over(mark.answered(Err(refused(403, "Forbidden", "policy says no"))));
    assert_eq!(finished.verdict, Some(Verdict::Accepted { made: None }));
    assert!(finished.refusal.is_some(), "it is told");
}

fn asked(verb: Verb, wanted: Option<Value>, seen: Option<Value>) -> Asked {
    let key = Key {
        uid: Uid::parse("u1"),
        ..rig::key("configmaps", "default", "menu")
    };
    Asked {
        node: NodeName::new("n1").unwrap(),
        id: EventId::new(Uuid::from_u128(1)),
        place: Place::core("configmaps", "default", "menu"),
        key,
        verb,
        object: wanted,
        seen,
        follows: None,
        earlier: None,
        grace_period_seconds: None,
    }
}

fn menu(soup: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"soup": soup},
        "metadata": {"name": "menu", "namespace": "default", "uid": "u1"}})
}

/// As the API server has it.
fn served(mut object: Value) -> Value {
    object["metadata"]["resourceVersion"] = json!("5");
    object["metadata"]["managedFields"] = json!([]);
    object
}

#[test]
fn a_create_that_is_sent_twice_is_recognised_and_one_that_comes_late_is_refused() {
    let work = || Work::create(asked(Verb::Create, Some(menu("pea")), None));
    let body = work().call().body.unwrap();
    assert_eq!(body["metadata"].get("uid"), None);
    assert_eq!(
        body["metadata"]["annotations"][REQUEST_ANNOTATION],
        Uuid::from_u128(1).to_string()
    );
    assert_eq!(work().call().query, "fieldManager=causeway%2Fn1");
    let look = next(work().answered(Err(exists())));
    assert_eq!(look.call().method, Method::Get);
    let mut ours = served(menu("pea"));
    ours["metadata"]["annotations"] = json!({REQUEST_ANNOTATION: Uuid::from_u128(1).to_string()});
    let again = over(look.clone().answered(Ok(ours)));
    assert!(
        matches!(again.verdict, Some(Verdict::Accepted { made: Some(_) })),
        "{again:?}"
    );
    let Some(Verdict::Rejected { status }) = over(look.answered(Ok(served(menu("leek"))))).verdict
    else {
        panic!("somebody else made it")
    };
    assert_eq!(status.reason, "AlreadyExists");
}

#[test]
fn a_change_holds_for_what_the_application_saw() {
    let work = |seen| Work::change(asked(Verb::Update, Some(menu("leek")), seen));
    let write = next(work(Some(menu("pea"))).answered(Ok(served(menu("pea")))));
    let call = write.call();
    assert_eq!((call.method, call.content), (Method::Patch, Content::Apply));
    let body = call.body.unwrap();
    assert_eq!(body["metadata"]["resourceVersion"], "5");
    assert_eq!(body["metadata"]["uid"], "u1");
    assert_eq!(body["data"], json!({"soup": "leek"}));
    for (seen, now) in [(Some(menu("pea")), menu("fish")), (None, menu("pea"))] {
        let Some(Verdict::Rejected { status }) = over(work(seen).answered(Ok(served(now)))).verdict
        else {
            panic!("the object has moved")
        };
        assert_eq!(status.reason, "Conflict");
    }
    let mut reborn = served(menu("pea"));
    reborn["metadata"]["uid"] = json!("u2");
    let Some(Verdict::Rejected { status }) =
        over(work(Some(menu("pea"))).answered(Ok(reborn))).verdict
    else {
        panic!("it is another object")
    };
    assert_eq!(status.reason, "NotFound");
}

#[test]
fn a_change_follows_what_the_node_wrote_and_nobody_since() {
    let [first, second] = [2, 3].map(|id| EventId::new(Uuid::from_u128(id)));
    let served = |wrote: EventId, soup: &str, ours: &str, others: &str| {
        let mut object = served(menu(soup));
        object["metadata"]["annotations"] = json!({REQUEST_ANNOTATION: wrote.uuid().to_string()});
        object["metadata"]["managedFields"] = json!([
            {"manager": "causeway/n1", "operation": "Apply", "time": ours},
            {"manager": "kubectl", "operation": "Update", "time": others},
        ]);
        object
    };
    let base = asked(Verb::Update, Some(menu("leek")), Some(menu("pea")));
    let made = Mark::of(&base.key, &served(first, "fish", "", ""));
    let known = earlier(first, Some(made));
    for (follows, earlier, object, is_followed) in [
        (Some(second), known, served(first, "fish", "1", "2"), true),
        (Some(first), known, served(first, "fish", "1", "2"), true),
        // Others changed it since, whatever the seconds say.
        (Some(second), known, served(first, "corn", "2", "1"), false),
        (Some(first), known, served(first, "corn", "2", "1"), false),
        // An answer that does not say what came of it, or none.
        (
            Some(second),
            earlier(first, None),
            served(first, "fish", "2", "1"),
            false,
        ),
        (
            Some(first),
            earlier(first, None),
            served(first, "fish", "1", "1"),
            true,
        ),
        (Some(second), None, served(first, "fish", "2", "1"), false),
        (Some(first), None, served(first, "fish", "1", "2"), false),
        (None, known, served(first, "fish", "2", "1"), false),
        (Some(second), known, served(second, "fish", "2", "1"), true),
        (Some(second), known, json!({}), false),
    ] {
        let asked = Asked {
            follows,
            earlier,
            ..base.clone()
        };
        assert_eq!(
            asked.is_followed(&object),
            is_followed,
            "{asked:?} {object}"
        );
    }
}

/// What the answer to a request says that was made before.
fn earlier(id: EventId, made: Option<Mark>) -> Option<Earlier> {
    let header = Header {
        offset: Offset::new(1),
        id: EventId::new(Uuid::from_u128(9)),
        cause: Some(id),
        time: WallTime::default(),
        key: rig::key("configmaps", "default", "menu"),
        version: Version::new(1),
        op: Op::Apply,
    };
    let body = Ground::default().answer(made);
    Earlier::of(&Record { header, body }, Ground::made_at(1))
}

#[test]
fn what_changes_between_look_and_write_is_looked_at_again_but_not_for_ever() {
    let mut work = Work::change(asked(Verb::Update, Some(menu("leek")), Some(menu("pea"))));
    for _ in 0..4 {
        let write = next(work.answered(Ok(served(menu("pea")))));
        work = next(write.answered(Err(refused(409, "Conflict", "modified"))));
        assert_eq!(work.call().method, Method::Get);
    }
    let write = next(work.answered(Ok(served(menu("pea")))));
    let turn = write.answered(Err(refused(409, "Conflict", "modified")));
    assert!(matches!(turn, Turn::Failed(Meaning::Conflict, _)));
}

#[test]
fn a_delete_is_done_when_the_object_is_gone_or_another() {
    let work = || Work::change(asked(Verb::Delete, None, Some(menu("pea"))));
    let accepted = Some(Verdict::Accepted { made: None });
    assert_eq!(over(work().answered(Err(gone()))).verdict, accepted);
    let mut reborn = served(menu("pea"));
    reborn["metadata"]["uid"] = json!("u2");
    assert_eq!(over(work().answered(Ok(reborn))).verdict, accepted);
    let delete = next(work().answered(Ok(served(menu("pea")))));
    let call = delete.call();
    assert_eq!(call.method, Method::Delete);
    assert_eq!(
        call.body.unwrap()["preconditions"],
        json!({"uid": "u1", "resourceVersion": "5"})
    );
    assert_eq!(
        over(delete.answered(Ok(json!({"kind": "Status"})))).verdict,
        accepted
    );
}

#[test]
fn what_a_node_may_not_do_is_refused_in_the_words_of_the_api_server() {
    let denied = "configmaps \"menu\" is forbidden: User \"system:node:n1\" cannot patch resource \"configmaps\"";
    let work = Work::change(asked(Verb::Update, Some(menu("leek")), Some(menu("pea"))));
    let write = next(work.answered(Ok(served(menu("pea")))));
    let Some(Verdict::Rejected { status }) =
        over(write.answered(Err(refused(403, "Forbidden", denied)))).verdict
    else {
        panic!("it is refused")
    };
    assert_eq!((status.code, &*status.message), (403, denied));
}

#[test]
fn an_object_too_large_for_the_cluster_is_refused_once_and_in_words() {
    let work = Work::create(asked(Verb::Create, Some(menu("pea")), None));
    let answer = Err(refused(500, "", "etcdserver: request is too large"));
    let Some(Verdict::Rejected { status }) = over(work.answered(answer)).verdict else {
        panic!("it is refused")
    };
    assert_eq!(
        (status.code, &*status.reason),
        (413, "RequestEntityTooLarge")
    );
    assert_eq!(
        status.message,
        "the cluster takes no object this large: etcdserver: request is too large"
    );
}
