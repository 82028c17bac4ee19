use super::*;

#[derive(Debug, thiserror::Error)]
#[error("cannot open")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_chain_is_one_line() {
    let error = Outer(std::io::Error::other("disk on fire"));
    assert_eq!(error_chain(&error).to_string(), "cannot open: disk on fire");
    let error = Outer(std::io::Error::other("line 1\n  |\r\n1 | oops\n"));
    assert_eq!(
        error_chain(&error).to_string(),
        "cannot open: line 1   | 1 | oops"
    );
}

#[test]
fn levels_are_words() {
    assert_eq!("warn".parse(), Ok(Level::Warn));
    let refused = "loud".parse::<Level>().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "must be one of error, warn, info, debug, trace"
    );
}
