//! The text that configuration comes in where there is no command line: a word a line.

use super::Source;
use crate::{Error, Result, args::Word};
use alloc::{format, string::String, vec::Vec};
use zeroize::Zeroizing;

/// More than anybody writes; AWS hands out 16 KiB of user data at most, MMDS 50 KiB of everything.
pub const TEXT_LEN_MAX: usize = 64 * 1024;
/// Looking for a key looks at all of them.
const WORDS_MAX: usize = 1000;

/// The words of a text from `source`.
pub(super) fn parse(source: Source, text: &[u8]) -> Result<Vec<Word>> {
    let wrong = |problem: &str| Error::msg(format!("the configuration in {source} {problem}"));
    if text.len() > TEXT_LEN_MAX {
        return Err(wrong("is longer than 64 KiB; give large values as files, by a boot module or a volume"));
    }
    let text =
        core::str::from_utf8(text).map_err(|_| wrong("is no UTF-8 text; write a line `key=value` for each value"))?;
    let mut words = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if words.len() == WORDS_MAX {
            return Err(wrong("has more than 1000 lines of values; leave some out"));
        }
        let word = parse_line(line, source);
        words.push(word.map_err(|problem| wrong(&format!("is wrong in line {number}: {problem}")))?);
    }
    Ok(words)
}

/// No error shows the line, which may hold a secret.
fn parse_line(line: &str, source: Source) -> Result<Word, &'static str> {
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key.trim_end(), Some(value.trim_start())),
        None => (line, None),
    };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if key.is_empty() || !key.bytes().all(is_key) {
        return Err("it is no `key=value` with a key of letters, digits, `_`, `-` and `.`");
    }
    if value.is_none() && key.starts_with("env.") {
        return Err("a variable has a value; write `env.NAME=VALUE`");
    }
    let value = value.map(|value| match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None if value.chars().any(char::is_control) => {
            Err("it holds a control character; write it in double quotes, as `\\t`")
        }
        None => Ok(Zeroizing::new(value.into())),
    });
    Ok(Word::new(key, value.transpose()?, source))
}

/// The value after an opening quote.
fn unquote(quoted: &str) -> Result<Zeroizing<String>, &'static str> {
    // All of it at once: a string that grows leaves copies behind.
    let mut value = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted.chars();
    loop {
        let c = match rest.next() {
            Some('"') if rest.as_str().is_empty() => return Ok(value),
            Some('"') => return Err("something follows the closing quote; write a quote inside as `\\\"`"),
            Some('\\') => match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c @ ('"' | '\\')) => c,
                _ => return Err("an unknown escape; there are `\\n`, `\\r`, `\\t`, `\\\"` and `\\\\`"),
            },
            Some(c) => c,
            None => return Err("the closing quote is missing"),
        };
        value.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// The variable `A` or argument `a` of a text, or what the error says is wrong with it.
    fn check(text: &str, expected: Result<&str, &str>) {
        let words = parse(Source::FwCfg, text.as_bytes());
        let value = |words: Vec<Word>| {
            let word = words.iter().rfind(|word| word.key.eq_ignore_ascii_case("a"));
            word.map(|word| word.value.as_ref().map_or("no value".into(), |value| value.to_string()))
        };
        let found = words.map(|words| value(words).unwrap_or("nothing".into())).map_err(|error| error.to_string());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text:?}: {error}"),
            _ => panic!("{text:?}: {found:?}"),
        }
        assert!(found.err().is_none_or(|error| !error.contains("hunter2")), "{text:?}");
    }

    #[test]
    fn texts_are_read() {
        check("", Ok("nothing"));
        check("# a=1\n\n   \n", Ok("nothing"));
        check("a=1", Ok("1"));
        check("a", Ok("no value"));
        check("a=", Ok(""));
        check("\r\n  a = some words \r\n# the end", Ok("some words"));
        check("env.A=x=y # z", Ok("x=y # z"));
        check("a=1\na=2", Ok("2"));
        check(r#"a="two\nlines \"\\ \t""#, Ok("two\nlines \"\\ \t"));
        check("a=\"\"", Ok(""));
        check("a=schön", Ok("schön"));
    }

    #[test]
    fn wrong_texts_are_refused_by_line() {
        check("a=1\nhunter2 is my password", Err("in fw_cfg is wrong in line 2: it is no `key=value`"));
        check("=hunter2", Err("line 1: it is no `key=value`"));
        check("<html>\n", Err("line 1"));
        check("env.A", Err("line 1: a variable has a value; write `env.NAME=VALUE`"));
        check("a=\"hunter2", Err("the closing quote is missing"));
        check("a=\"hunter2\" b", Err("something follows the closing quote"));
        check(r#"a="hunter2\x41""#, Err("an unknown escape"));
        check("a=hunter2\u{0}", Err("it holds a control character"));
        check(&"a=1\n".repeat(1001), Err("more than 1000 lines"));
        check(&"a=1\n".repeat(1000), Ok("1"));
        check(&"#".repeat(TEXT_LEN_MAX + 1), Err("is longer than 64 KiB"));
        let error = parse(Source::Metadata, b"\x1f\x8b\x08").err().expect("it is compressed").to_string();
        assert!(error.contains("in the metadata service is no UTF-8 text"), "{error}");
    }
}
