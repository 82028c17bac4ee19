//! For CI: JUnit XML, one test case an expectation.

use std::fmt::Write as _;

use crate::scenario::Outcome;

/// The report of one scenario. `file` is where it is written.
#[must_use]
pub fn junit(outcome: &Outcome, file: &str) -> String {
    let mut cases = String::new();
    let mut failures = 0;
    for verdict in &outcome.verdicts {
        let name = escape(&format!("{} {}", verdict.when.label(), verdict.label));
        let (file, line) = (escape(file), verdict.place.line);
        let head = format!(
            "    <testcase classname=\"{}\" name=\"{name}\" file=\"{file}\" line=\"{line}\"",
            escape(&outcome.name)
        );
        // Writing to a string cannot fail.
        let _ = match &verdict.failure {
            None => writeln!(cases, "{head}/>"),
            Some(failure) => {
                failures += 1;
                writeln!(
                    cases,
                    "{head}>\n      <failure message=\"{}\"/>\n    </testcase>",
                    escape(failure)
                )
            }
        };
    }
    let mut errors = 0;
    if let Some(broken) = &outcome.broken {
        errors = 1;
        let name = broken.invariant.unwrap_or("the run");
        let _ = writeln!(
            cases,
            "    <testcase classname=\"{}\" name=\"{name}\">\n      <error message=\"{}\"/>\n    </testcase>",
            escape(&outcome.name),
            escape(&broken.what),
        );
    }
    let tests = outcome.verdicts.len() + errors;
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  \
         <testsuite name=\"{}\" {counts}>\n{cases}  </testsuite>\n</testsuites>\n",
        escape(&outcome.name),
    )
}

/// A text within a quoted attribute or between tags, in XML and in HTML. Characters that XML cannot
/// hold become question marks.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
