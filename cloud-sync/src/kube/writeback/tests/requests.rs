//! Requests of applications that write faster than their link carries: only the newest travels.

use causeway_log::{EventId, Key, Op, Uid, Version};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};
use uuid::Uuid;

use super::site::Site;
use crate::rig;

const MENU: &str = "/api/v1/namespaces/default/configmaps/menu";

/// A request that never travelled, as a newer one took its place.
const SUPERSEDED: EventId = EventId::new(Uuid::from_u128(0xb));

fn menu(key: &Key, soup: &str) -> Value {
    rig::object(key, "ConfigMap", json!({"data": {"soup": soup}}))
}

impl Site {
    /// `n1` wants soup, and asks so in one batch with what it asked before.
    async fn asks(&mut self, requests: &[(&Key, Verb, &str, Option<Version>, u64)]) {
        let drafts = requests.iter().map(|(key, verb, soup, base, made)| {
            let request = Request {
                verb: *verb,
                object: Some(menu(key, soup)),
                base: *base,
                uid: key.uid.clone(),
                follows: Some(SUPERSEDED),
                grace_period_seconds: None,
            };
            let body = serde_json::from_slice(&request.encode()).unwrap();
            let mut draft = self.draft(key, Op::Apply, &body);
            draft.version = Some(Version::new(*made));
            draft
        });
        let drafts = drafts.collect();
        self.send(drafts).await;
    }

    fn soup(&self) -> Value {
        self.api.get(MENU).unwrap()["data"]["soup"].clone()
    }

    /// The key in the life that the API server gave the object.
    fn life(&self, key: &Key) -> Key {
        let object = self.api.get(MENU).unwrap();
        let uid = Uid::parse(object["metadata"]["uid"].as_str().unwrap());
        Key { uid, ..key.clone() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_follows_the_newest_one_that_was_accepted() {
    let mut site = Site::new().await;
    let asked = rig::key("configmaps", "default", "menu");
    site.start();
    // Made, and changed twice before that was answered.
    let (first, newest) = (
        (&asked, Verb::Create, "pea", None, 1),
        (&asked, Verb::Create, "leek", None, 3),
    );
    site.asks(&[first, newest]).await;
    site.settled().await;
    assert_eq!(site.soup(), "leek");

    let key = site.life(&asked);
    let (base, _) = site.sent_object(&key).unwrap();
    let change = |soup, made| (&key, Verb::Update, soup, Some(base), made);
    // The second waits until what came of the first is durable, and finds that.
    site.asks(&[change("fish", 4), change("corn", 6)]).await;
    site.settled().await;
    assert_eq!(site.soup(), "corn");
    assert_eq!(site.answers(&key).1, Some(Op::Apply));
    // So does a cloud that forgot everything but what is durable.
    site = site.crash().await;
    site.start();
    site.asks(&[change("bean", 8)]).await;
    site.settled().await;
    assert_eq!(site.soup(), "bean");

    // A disk that was put back sends an old one again.
    site.asks(&[change("old", 5)]).await;
    site.settled().await;
    assert_eq!(site.soup(), "bean");
    assert_eq!(site.answers(&key).1, Some(Op::Reject));
}

#[tokio::test(start_paused = true)]
async fn what_others_wrote_since_is_a_conflict() {
    let mut site = Site::new().await;
    let asked = rig::key("configmaps", "default", "menu");
    site.start();
    site.asks(&[(&asked, Verb::Create, "pea", None, 1)]).await;
    site.settled().await;
    let key = site.life(&asked);
    let (base, _) = site.sent_object(&key).unwrap();
    let change = |soup, made| (&key, Verb::Update, soup, Some(base), made);
    site.asks(&[change("leek", 2)]).await;
    site.settled().await;
    // Somebody else writes, and leaves the annotation as it is.
    let mut object = site.api.get(MENU).unwrap();
    object["data"]["soup"] = json!("theirs");
    site.api.put(MENU, object);
    site.asks(&[change("corn", 4)]).await;
    site.settled().await;
    assert_eq!(site.soup(), "theirs");
    assert_eq!(site.answers(&key).1, Some(Op::Reject));
}
