//! The name of an instance, which is also that of its folder.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// 1 to 63 letters, digits, `-`, `_` and `.`, of which the first is a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// As long as a label of a host name (RFC 1035, 2.3.4): other providers take no more.
const NAME_LEN_MAX: usize = 63;

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Name, String> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if is_plain && begins_well && text.len() <= NAME_LEN_MAX {
            return Ok(Name(text.into()));
        }
        Err(format!(
            "`{text}` is no name of an instance; take 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` or `.`, and begin with a \
             letter or a digit, such as `web-1`"
        ))
    }
}

impl Name {
    /// A name made from a file's: what does not fit is left away.
    pub fn like(text: &str) -> Name {
        let is_good = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let name: String = text.chars().filter(is_good).skip_while(|c| !c.is_ascii_alphanumeric()).collect();
        // Room for a number behind it.
        Name(if name.is_empty() { "instance".into() } else { name.chars().take(NAME_LEN_MAX - 8).collect() })
    }

    /// The same with a number.
    pub fn numbered(&self, number: usize) -> Name {
        Name(format!("{}-{number}", self.0))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folders_of_their_own() {
        for good in ["web", "web-1", "0.b_c", &"a".repeat(63)] {
            assert_eq!(good.parse::<Name>().map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "ü", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().unwrap_err().contains("is no name of an instance"), "{bad}");
        }
    }

    #[test]
    fn names_are_made_of_anything() {
        for (file, name) in [("hello.elf", "hello.elf"), ("../x y", "xy"), ("", "instance"), ("ü", "instance")] {
            assert_eq!(Name::like(file).as_str(), name);
        }
        let long = Name::like(&"a".repeat(99)).numbered(1_000_000);
        assert!(String::from(long).parse::<Name>().is_ok());
    }
}
