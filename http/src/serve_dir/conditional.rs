//! Preconditions (RFC 9110, 13).

use crate::{date, head::Head};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    NotModified,
    Failed,
}

/// The order is that of RFC 9110, 13.2.2. `modified` is in seconds since 1970; conditions on a time or a tag that is not
/// known are as if they were not there, or not met.
pub(super) fn judge(head: &Head, etag: &str, modified: Option<u64>) -> Verdict {
    // Ordinary requests have no precondition; one look says so.
    let is_conditional = head
        .parsed
        .fields
        .iter()
        .any(|field| field.name.len() >= 8 && head.bytes(field.name)[..3].eq_ignore_ascii_case(b"if-"));
    if !is_conditional {
        return Verdict::Send;
    }
    let date = |name| head.value(name).and_then(date::parse).zip(modified);
    if head.value("if-match").is_some() {
        if !head.values("if-match").any(|list| lists(list, etag, Comparison::Strong)) {
            return Verdict::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|(date, modified)| modified > date) {
        return Verdict::Failed;
    }
    if head.value("if-none-match").is_some() {
        if head.values("if-none-match").any(|list| lists(list, etag, Comparison::Weak)) {
            return Verdict::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|(date, modified)| modified <= date) {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether `If-Range` lets `Range` count (RFC 9110, 13.1.5): both kinds of validators have to be exactly the same.
pub(super) fn allows_range(head: &Head, etag: &str, modified: Option<u64>) -> bool {
    match head.value("if-range") {
        None => true,
        Some(value) => value == etag.as_bytes() || (modified.is_some() && date::parse(value) == modified),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// `W/` never matches.
    Strong,
    /// `W/` does not matter.
    Weak,
}

/// Whether a list of entity tags has `etag` (RFC 9110, 8.8.3); `*` has every one. What follows a syntax error is
/// ignored.
fn lists(list: &[u8], etag: &str, comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let is_weak = rest.starts_with(b"W/");
        if is_weak {
            rest = &rest[2..];
        }
        let [b'"', tail @ ..] = rest else { return false };
        let Some(end) = tail.iter().position(|&byte| byte == b'"') else { return false };
        if rest[..end + 2] == *etag.as_bytes() && !(is_weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = &tail[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_entity_tags() {
        for (list, strong, weak) in [
            ("*", true, true),
            ("\"x\"", true, true),
            ("W/\"x\"", false, true),
            ("\"a\", \"x\"", true, true),
            ("\"a,b\" , ,W/\"c\",\"x\"", true, true),
            ("\"a\"", false, false),
            ("x", false, false),
            ("\"x", false, false),
            ("", false, false),
            ("garbage, \"x\"", false, false),
        ] {
            assert_eq!(lists(list.as_bytes(), "\"x\"", Comparison::Strong), strong, "{list}");
            assert_eq!(lists(list.as_bytes(), "\"x\"", Comparison::Weak), weak, "{list}");
        }
    }
}
