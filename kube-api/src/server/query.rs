//! Query parameters.

use causeway_log::Revision;
use causeway_projections::{FieldSelector, LabelSelector};

use super::route::decode_percent;
use crate::catalog::ServedKind;
use crate::schema::FieldValidation;
use crate::status::{Cause, Status};
use crate::table::IncludeObject;

/// How a list is to stand to the revision asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RevisionMatch {
    NotOlderThan,
    Exact,
}

/// All parameters that any verb reads; unknown ones are passed over, as Kubernetes does.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) watch: bool,
    pub(super) label_selector: LabelSelector,
    pub(super) field_selector: FieldSelector,
    pub(super) limit: usize,
    pub(super) continue_token: String,
    /// `None`: not given, or empty.
    pub(super) resource_version: Option<Revision>,
    pub(super) resource_version_match: Option<RevisionMatch>,
    pub(super) allow_watch_bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) include_object: IncludeObject,
    pub(super) dry_run: bool,
    pub(super) field_validation: FieldValidation,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) propagation_policy: Option<String>,
    pub(super) pretty: bool,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                decode_percent(&text.replace('+', " "))
                    .ok_or_else(|| Status::bad_request("the query string is not valid"))
            };
            query.set(&decode(name)?, &decode(value)?)?;
        }
        query.check()?;
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Status> {
        match name {
            "watch" => self.watch = flag(value),
            "pretty" => self.pretty = flag(value),
            "labelSelector" => {
                self.label_selector = LabelSelector::parse(value).map_err(unreadable)?;
            }
            "fieldSelector" => {
                self.field_selector = FieldSelector::parse(value).map_err(unreadable)?;
            }
            "limit" => self.limit = number(name, value)?.unwrap_or(0),
            "continue" => value.clone_into(&mut self.continue_token),
            "resourceVersion" => {
                self.resource_version = parse_revision(value)?;
            }
            "resourceVersionMatch" => {
                self.resource_version_match = match value {
                    "" => None,
                    "NotOlderThan" => Some(RevisionMatch::NotOlderThan),
                    "Exact" => Some(RevisionMatch::Exact),
                    _ => {
                        let told = format!(
                            "Unsupported value: {value:?}: supported values: \"Exact\", \
                             \"NotOlderThan\""
                        );
                        return Err(invalid_options(name, told));
                    }
                };
            }
            "allowWatchBookmarks" => self.allow_watch_bookmarks = flag(value),
            "sendInitialEvents" => {
                self.send_initial_events = (!value.is_empty()).then(|| flag(value));
            }
            "timeoutSeconds" => self.timeout_seconds = number(name, value)?,
            "includeObject" => {
                self.include_object = match value {
                    "None" => IncludeObject::None,
                    "Object" => IncludeObject::Object,
                    _ => IncludeObject::Metadata,
                };
            }
            "dryRun" => self.dry_run = parse_dry_run(value)?,
            "fieldValidation" => {
                self.field_validation = FieldValidation::parse(value).ok_or_else(|| {
                    let told = format!(
                        "Unsupported value: {value:?}: supported values: \"Ignore\", \"Warn\", \
                         \"Strict\""
                    );
                    invalid_options(name, told)
                })?;
            }
            "gracePeriodSeconds" => self.grace_period_seconds = number(name, value)?,
            "propagationPolicy" => {
                self.propagation_policy = (!value.is_empty()).then(|| value.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Status> {
        let forbidden =
            |field: &str, why: &str| Err(invalid_options(field, format!("Forbidden: {why}")));
        match (self.send_initial_events, self.watch) {
            (Some(_), false) => {
                return forbidden(
                    "sendInitialEvents",
                    "sendInitialEvents is forbidden for list",
                );
            }
            (Some(_), true) if self.resource_version_match != Some(RevisionMatch::NotOlderThan) => {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return forbidden("resourceVersionMatch", why);
            }
            (Some(true), true) if !self.allow_watch_bookmarks => {
                let why = "sendInitialEvents requires setting allowWatchBookmarks to true";
                return forbidden("allowWatchBookmarks", why);
            }
            (Some(_), true) => return Ok(()),
            (None, _) => {}
        }
        let Some(matching) = self.resource_version_match else {
            return Ok(());
        };
        if self.watch {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
                       provided";
            return forbidden("resourceVersionMatch", why);
        }
        if !self.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            return forbidden("resourceVersionMatch", why);
        }
        match (matching, self.resource_version) {
            (_, None) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (RevisionMatch::Exact, Some(Revision::ZERO)) => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            _ => Ok(()),
        }
    }

    /// Checks the field selector against what `kind` can be selected by.
    pub(super) fn check_fields(&self, kind: &ServedKind) -> Result<(), Status> {
        let custom = kind
            .custom
            .as_ref()
            .map(|custom| custom.selectable_fields.as_slice());
        self.field_selector
            .check(&kind.resource, custom.unwrap_or_default())
            .map_err(|error| Status::bad_request(error.0))
    }
}

fn flag(value: &str) -> bool {
    !matches!(value, "" | "0" | "false" | "False" | "FALSE" | "f" | "F")
}

fn unreadable(error: causeway_projections::SelectorError) -> Status {
    Status::bad_request(error.0)
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<Option<T>, Status> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| {
        Status::bad_request(format!(
            "invalid value {value:?} of the parameter {name}: not a number"
        ))
    })
}

/// Reads a `resourceVersion`; empty text is none.
pub(super) fn parse_revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(|number| Some(Revision::new(number)))
        .map_err(|_| {
            let told = format!(
                "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            );
            invalid_options("resourceVersion", told)
        })
}

pub(super) fn parse_dry_run(value: &str) -> Result<bool, Status> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        _ => {
            let told = format!("Unsupported value: {value:?}: supported values: \"All\"");
            Err(invalid_options("dryRun", told))
        }
    }
}

fn invalid_options(field: &str, message: String) -> Status {
    let cause = Cause {
        reason: "FieldValueInvalid".to_owned(),
        message,
        field: field.to_owned(),
    };
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause])
}
