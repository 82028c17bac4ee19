//! TWIN-1, TWIN-2: the laws of merging, for any documents.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Few names, versions and values, so that they meet.
fn properties() -> impl Strategy<Value = Properties> {
    let value = "[ab]{0,2}".prop_map(|text| Value::new(&text));
    let property = (
        0..4_u64,
        option::of(value.clone()),
        option::of(value),
        0..3_u64,
    )
        .prop_map(|(version, value, observed, time)| Property {
            version: TwinVersion::new(version),
            value,
            observed,
            time,
        });
    btree_map("[xyz]".prop_map(Arc::<str>::from), property, 0..4).prop_map(Properties)
}

fn twin() -> impl Strategy<Value = Twin> {
    let said = option::of(0..State::ALL.len());
    let state = (0..3_u64, 0..State::ALL.len(), said).prop_map(|(version, state, said)| State {
        version: TwinVersion::new(version),
        state: State::ALL[if said.is_some() { 3 } else { state }].into(),
        said: said.map(|said| State::ALL[said].into()),
        last_online: 0,
    });
    (properties(), properties(), option::of(state)).prop_map(|(desired, reported, state)| Twin {
        desired: Arc::new(Desired {
            properties: desired,
        }),
        reported: Arc::new(Reported {
            properties: reported,
            state,
        }),
    })
}

fn merged(mut one: Twin, other: &Twin) -> Twin {
    one.merge(other);
    one
}

proptest! {
    #[test]
    fn merging_is_idempotent_commutative_and_associative(a in twin(), b in twin(), c in twin()) {
        let again = merged(a.clone(), &a);
        prop_assert_eq!(&again, &a);
        prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a));
        let left = merged(merged(a.clone(), &b), &c);
        let right = merged(a, &merged(b, &c));
        prop_assert_eq!(left.digest(), right.digest());
        prop_assert_eq!(left, right);
    }

    #[test]
    fn no_version_is_lost_by_merging(a in properties(), b in properties()) {
        let mut both = a.clone();
        both.merge(&b);
        for (name, property) in both.iter() {
            let versions = [&a, &b].map(|it| it.get(name).map(|it| it.version));
            prop_assert_eq!(Some(property.version), versions[0].max(versions[1]));
        }
    }

    #[test]
    fn neither_side_touches_the_other(a in twin(), b in twin()) {
        let mut reports = a.clone();
        Arc::make_mut(&mut reports.reported).merge(&b.reported);
        prop_assert_eq!(&reports.desired, &a.desired);
        let mut wishes = a.clone();
        Arc::make_mut(&mut wishes.desired).properties.merge(&b.desired.properties);
        prop_assert_eq!(&wishes.reported, &a.reported);
    }

    /// Whatever is reported in whatever order, versions grow, echoes write nothing, and the last
    /// accepted value stands.
    #[test]
    fn the_last_accepted_report_stands(
        reports in vec(("[xy]", option::of("[0-9]{1,2}"), option::of(0..6_u64), any::<u64>()), 0..40),
    ) {
        let device = json!({"spec": {"properties": [{"name": "x"}, {"name": "y"}]}});
        let rules = Rules::of(&device, None);
        let mut reported = Reported::default();
        let mut model: BTreeMap<String, (u64, Option<String>)> = BTreeMap::new();
        for (name, value, version, time) in reports {
            let before = reported.clone();
            let report = Report {
                value: value.as_deref().map(Value::new),
                observed: None,
                version: version.map(TwinVersion::new),
                time: at(time),
            };
            let known = model.get(&name).cloned().unwrap_or((0, None));
            match reported.report(&name, report, &rules) {
                Ok(Took::Changed) => {
                    let now = reported.properties.get(&name).unwrap().version.get();
                    prop_assert!(now > known.0, "{now} after {}", known.0);
                    prop_assert_ne!(&value, &known.1);
                    model.insert(name, (now, value));
                }
                Ok(Took::Echo) => {
                    prop_assert_eq!(&reported, &before);
                    prop_assert_eq!(&value, &known.1);
                }
                Err(refused) => {
                    prop_assert_eq!(&reported, &before);
                    prop_assert_eq!(refused.code(), 409);
                    prop_assert!(version.is_some_and(|version| version <= known.0));
                }
            }
        }
        for (name, (_, value)) in model {
            let standing = reported.properties.value(&name).map(|it| it.value.to_string());
            prop_assert_eq!(standing, value);
        }
    }

    /// Doubts that come and go among what is said: the version grows with each change, and without
    /// a doubt the state is what was said last.
    #[test]
    fn a_doubt_that_is_over_leaves_what_was_said_last(
        steps in vec((any::<bool>(), 0..State::ALL.len() + 1), 0..30),
    ) {
        let mut reported = Reported::default();
        let mut said = None;
        for (is_doubted, step) in steps {
            let before = reported.state.clone();
            let took = match State::ALL.get(step) {
                Some(state) => {
                    said = Some(*state);
                    reported.report_state(state, at(7)).unwrap()
                }
                None => reported.take_state(reported.decide_doubt(is_doubted)),
            };
            prop_assert_eq!(took == Took::Changed, reported.state != before);
            prop_assert!(took == Took::Echo || reported.state > before);
            let shown = reported.shown_state().map(|state| state.state.to_string());
            let expected = if reported.is_doubted() { Some("unknown") } else { said };
            prop_assert_eq!(shown.as_deref(), expected);
            prop_assert_eq!(&Reported::decode(&reported.encode()).unwrap(), &reported);
        }
    }

    #[test]
    fn documents_survive_their_encoding(twin in twin()) {
        prop_assert_eq!(&Desired::decode(&twin.desired.encode()).unwrap(), &*twin.desired);
        prop_assert_eq!(&Reported::decode(&twin.reported.encode()).unwrap(), &*twin.reported);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Reported::decode(&bytes);
        let _ = super::super::history::Chunk::decode(&bytes);
        if let Ok(json) = serde_json::from_slice::<Json>(&bytes) {
            let _ = check(&json, Some(&json));
            let _ = Rules::of(&json, Some(&json));
            let _ = wishes(&json);
        }
    }
}
