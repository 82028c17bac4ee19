//! The kinds of devices, which the embedded cluster serves from its start as ordinary definitions.
//!
//! What was put here is recognised by an annotation with the hash of its `spec`. A definition that
//! somebody changed since, or applied by hand, is left alone; one that is as it was put follows this
//! program.

use causeway_kube_api::decide::{Context, Subresource, prepare_create, prepare_update};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{ServedKind, Status};
use causeway_log::{Batch, Body, Key, Uid};
use serde_json::{Value, json};

use super::ClusterMachine;
use super::start::StartError;
use crate::interest::Name;

/// On a definition that was put here: the hash of its `spec`.
const DEFINITION_ANNOTATION: &str = "causeway.dev/definition";

impl ClusterMachine {
    /// Puts the definitions that are missing, or that an earlier version of this program put.
    pub(super) fn define_devices(&mut self) -> Result<(), StartError> {
        let kind = self
            .catalog()
            .find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
            .map(|kind| ServedKind::clone(kind))
            .expect("the kind of definitions is built in");
        let mut batch = Batch::default();
        for definition in crate::devices::definitions() {
            match self.define(&kind, definition, &mut batch) {
                Ok(()) => {}
                // One that somebody changed so that ours cannot follow is theirs.
                Err(status) => tracing::warn!(
                    name = definition["metadata"]["name"].as_str().unwrap_or_default(),
                    error = %status.message,
                    "a definition of devices is left as it is"
                ),
            }
        }
        self.write_now(&mut batch)
    }

    fn define(
        &mut self,
        kind: &ServedKind,
        definition: &Value,
        batch: &mut Batch,
    ) -> Result<(), Box<Status>> {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let name = Name {
            resource: kind.resource.clone(),
            namespace: "".into(),
            name: name.into(),
        };
        let uid = self.clock.uid();
        let context = self.definition_context(uid, &name);
        let fresh = prepare_create(kind, definition.clone(), &context).map_err(Box::new)?;
        let mut fresh = fresh.object;
        let hash = hash(&fresh["spec"]);
        let (key, object) = match self.current(&name) {
            None => {
                fresh["metadata"]["annotations"] = json!({DEFINITION_ANNOTATION: hash});
                let key = Key::new(name.resource, "", &name.name, Uid::Uuid(uid))
                    .expect("the names of these definitions are valid");
                (key, fresh)
            }
            Some(current) => {
                let mut known = current.value();
                let put = known["metadata"]["annotations"][DEFINITION_ANNOTATION].as_str();
                let is_untouched = put == Some(&*self::hash(&known["spec"]));
                if !is_untouched || put == Some(&*hash) {
                    return Ok(());
                }
                // An update names the version that it is of; whichever it is, it is this one.
                known["metadata"]["resourceVersion"] = json!("1");
                let mut wanted = known.clone();
                wanted["spec"] = fresh["spec"].take();
                wanted["metadata"]["annotations"][DEFINITION_ANNOTATION] = json!(hash);
                let main = Subresource::Main;
                let prepared = prepare_update(kind, &known, wanted, main, &context);
                (current.key, prepared.map_err(Box::new)?.object)
            }
        };
        // Far below the size of a record.
        let _ = self.put(batch, &key, object, None);
        Ok(())
    }

    fn definition_context(&self, uid: uuid::Uuid, name: &Name) -> Context {
        Context {
            now: self.clock.now(),
            uid,
            namespace: String::new(),
            name: name.name.to_string(),
            field_validation: FieldValidation::Warn,
        }
    }
}

pub(super) fn hash(spec: &Value) -> String {
    let hash = Body::from(spec.to_string().into_bytes()).hash();
    let (short, _) = hash.as_bytes().split_at(8);
    short.iter().map(|byte| format!("{byte:02x}")).collect()
}
