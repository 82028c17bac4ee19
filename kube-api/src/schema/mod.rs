//! Structural schemas: built-in kinds and custom resources.

/// What to do with fields that the schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them without a word.
    Ignore,
    /// Drop them with a warning.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}
