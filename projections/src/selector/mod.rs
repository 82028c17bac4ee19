//! Label and field selectors in Kubernetes' grammar, with Kubernetes' words for mistakes.

mod fields;
mod labels;
#[cfg(test)]
mod tests;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

/// Text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// Longest selector text that is read, in bytes.
const SELECTOR_BYTES_MAX: usize = 16 * 1024;

fn check_length(text: &str) -> Result<(), SelectorError> {
    if text.len() > SELECTOR_BYTES_MAX {
        let told = format!("invalid selector: must be no more than {SELECTOR_BYTES_MAX} bytes");
        return Err(SelectorError(told));
    }
    Ok(())
}
