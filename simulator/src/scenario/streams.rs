//! What both ends of a node's two streams hold, and how they differ.

use std::collections::BTreeMap;

/// One direction, as its two ends hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// `down` or `up`.
    pub direction: &'static str,
    /// What the cloud holds.
    pub cloud: Held,
    /// What the node holds.
    pub edge: Held,
}

/// The state of a stream at one end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its epoch.
    pub epoch: String,
    /// By key and slot: which version and content.
    pub keys: BTreeMap<String, String>,
}

impl Ends {
    /// Whether both ends hold the same.
    ///
    /// # Errors
    /// The first thing that differs, in words.
    pub fn differ(&self) -> Result<(), String> {
        let Self {
            direction,
            cloud,
            edge,
        } = self;
        if cloud.epoch != edge.epoch {
            let (cloud, edge) = (&cloud.epoch, &edge.epoch);
            return Err(format!(
                "{direction} is of epoch {cloud} in the cloud and of {edge} at the node"
            ));
        }
        let keys = cloud.keys.keys().chain(edge.keys.keys());
        let mut different = keys.filter(|key| cloud.keys.get(*key) != edge.keys.get(*key));
        let Some(key) = different.next() else {
            return Ok(());
        };
        let more = match different.filter(|other| *other != key).count() {
            0 => "",
            _ => ", and more differs",
        };
        let shown = |held: &Held| held.keys.get(key).cloned();
        let shown = |held| shown(held).unwrap_or_else(|| "nothing".to_owned());
        Err(format!(
            "{direction} differs: of {key} the cloud has {}, the node {}{more}",
            shown(cloud),
            shown(edge)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(epoch: &str, keys: &[(&str, &str)]) -> Held {
        let own = |(key, version): &(&str, &str)| ((*key).to_owned(), (*version).to_owned());
        Held {
            epoch: epoch.to_owned(),
            keys: keys.iter().map(own).collect(),
        }
    }

    fn differ(cloud: Held, edge: Held) -> String {
        let ends = Ends {
            direction: "down",
            cloud,
            edge,
        };
        ends.differ().err().unwrap_or_default()
    }

    #[test]
    fn the_first_key_that_differs_is_named() {
        let same = held("a", &[("pods/web object", "v1")]);
        assert_eq!(differ(same.clone(), same.clone()), "");
        assert!(differ(same.clone(), held("b", &[])).contains("epoch a in the cloud and of b"));
        assert_eq!(
            differ(same.clone(), held("a", &[])),
            "down differs: of pods/web object the cloud has v1, the node nothing"
        );
        let more = held("a", &[("pods/web object", "v2"), ("pods/x object", "v1")]);
        assert!(differ(same, more).ends_with("has v1, the node v2, and more differs"));
    }
}
