//! Paths: names between slashes.

use crate::error::Cause;
use alloc::{borrow::Cow, string::String};

/// The longest name of most file systems, in bytes.
pub(crate) const NAME_LEN_MAX: usize = 255;

/// The path in the form that file systems get: no slash at either end, none doubled. A path that is so already is not
/// copied.
pub(crate) fn normalize(path: &str) -> Result<Cow<'_, str>, Cause> {
    let trimmed = path.trim_matches('/');
    let mut is_plain = true;
    for name in trimmed.split('/') {
        match name {
            "" => is_plain = trimmed.is_empty(),
            "." | ".." => return Err(Cause::InvalidName),
            name if name.len() > NAME_LEN_MAX || name.contains('\0') => return Err(Cause::InvalidName),
            _ => {}
        }
    }
    if is_plain {
        return Ok(Cow::Borrowed(trimmed));
    }
    let mut path = String::with_capacity(trimmed.len());
    for name in trimmed.split('/').filter(|name| !name.is_empty()) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
    }
    Ok(Cow::Owned(path))
}

/// The folder and the last name of a normalized path; `None` for the root.
pub(crate) fn split_last(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/') {
        Some(parts) => Some(parts),
        None if path.is_empty() => None,
        None => Some(("", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_path() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(normalize(path).ok().as_deref(), expected, "{path:?}");
        };
        check("", Some(""));
        check("/", Some(""));
        check("a", Some("a"));
        check("/a/b/", Some("a/b"));
        check("a//b", Some("a/b"));
        check("a//", Some("a"));
        check("über/…", Some("über/…"));
        check("a/./b", None);
        check("../a", None);
        check("a/..", None);
        check("a\0b", None);
        check(&"n".repeat(255), Some(&"n".repeat(255)));
        check(&"n".repeat(256), None);
        check("...", Some("..."));
    }

    #[test]
    fn the_last_name() {
        assert_eq!(split_last("a/b/c"), Some(("a/b", "c")));
        assert_eq!(split_last("c"), Some(("", "c")));
        assert_eq!(split_last(""), None);
    }
}
