//! What an app may be called: what cargo accepts for a package with a library and a program, and nothing that would be taken for
//! something else.

use anyhow::{Result, bail};

use super::templates::Template;

/// Keywords of all editions, and those that are reserved.
const KEYWORDS: &str = "Self abstract as async await become box break const continue crate do dyn else enum extern false final fn \
                        for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct \
                        super trait true try type typeof unsafe unsized use virtual where while yield";
/// What rustc has built in, and what cargo calls its own folders beside a program.
const TAKEN: &str = "alloc build core deps examples incremental proc-macro proc_macro std test";
/// Longer ones make trouble with the lengths of file names.
const LEN_MAX: usize = 64;

/// Refuses what cargo, rustc or the template could not build.
pub fn check(name: &str, template: &Template) -> Result<()> {
    let is_one_of = |words: &str| words.split_whitespace().any(|word| word == name);
    let advice = "choose another, such as `my-app`";
    if !is_plain(name) {
        bail!(
            "`{name}` is no name for an app: a name is letters of a to z, digits, `-` and `_`, with a letter first; {advice}"
        );
    }
    if name.len() > LEN_MAX {
        bail!("this name is longer than {LEN_MAX} characters; {advice}");
    }
    if is_one_of(KEYWORDS) {
        bail!("`{name}` is a word of Rust; {advice}");
    }
    if is_one_of(TAKEN) || dependencies(template).any(|taken| taken == name.replace('_', "-")) {
        bail!("`{name}` is the name of something that the app is built with; {advice}");
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_allowed)
}

/// The crates that the template's `Cargo.toml` names.
fn dependencies(template: &Template) -> impl Iterator<Item = &str> {
    let manifest = template.files.iter().find(|file| file.target() == "Cargo.toml").map_or("", |file| file.text);
    let section = manifest.split_once("[dependencies]\n").map_or("", |(_, rest)| rest);
    section.lines().map_while(|line| line.split_once(" = ")).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::templates;

    fn check_one(name: &str, expected: &str) {
        let template = templates::find("json-api").unwrap();
        let text = check(name, template).map_or_else(|error| error.to_string(), |()| "accepted".into());
        assert!(text.contains(expected), "{name}: {text}");
    }

    #[test]
    fn names() {
        for name in ["a", "hello-web", "hello_web", "Web2", &"x".repeat(64)] {
            check_one(name, "accepted");
        }
        for name in ["", "2fast", "-x", "_x", "a b", "a/b", "..", "grün", "a.b", "a\n", "$(x)"] {
            check_one(name, "is no name for an app");
        }
        check_one(&"x".repeat(65), "is longer than 64 characters");
        for name in ["async", "gen", "self"] {
            check_one(name, "is a word of Rust; choose another");
        }
        for name in ["test", "core", "deps", "serde", "unikernel-rt", "unikernel_http"] {
            check_one(name, "is the name of something that the app is built with");
        }
    }
}
