//! What an image is called: `[registry/]name[:tag]`.

use std::{fmt, path::Path, str::FromStr};

/// The name of an image, with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    name: String,
    tag: String,
}

impl Reference {
    /// The part behind the colon.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// For a file that nobody has given another name.
    pub(crate) fn of_file(path: &Path) -> Reference {
        let stem = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let stem = stem.split('.').next().unwrap_or_default();
        let letters: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = letters.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        Reference { name: if name.is_empty() { "unikernel".into() } else { name }, tag: "latest".into() }
    }
}

/// The characters are those of the distribution specification 1.1 ("Pulling manifests").
impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Reference, String> {
        // A colon before a slash is that of the registry's port.
        let tagged = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let (name, tag) = tagged.unwrap_or((text, "latest"));
        let (registry, path) = match name.split_once('/') {
            Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => {
                (Some(registry), path)
            }
            _ => (None, name),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_part = |part: &str| {
            part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || "._-".contains(c))
        };
        let is_host = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-[]".contains(c));
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_tag = tag.starts_with(word) && tag.len() <= 128 && tag.chars().all(|c| word(c) || ".-".contains(c));
        if !path.split('/').all(is_part) || !registry.is_none_or(is_host) || !is_tag {
            return Err(format!(
                "`{text}` is no name of an image; write [REGISTRY/]NAME[:TAG] in small letters, such as `registry.example.org/shop/web:1.2`"
            ));
        }
        Ok(Reference { name: name.to_owned(), tag: tag.to_owned() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<Reference>().ok().map(|reference| reference.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("web", Some("web:latest"));
        check("web:1.2", Some("web:1.2"));
        check("localhost:5000/web", Some("localhost:5000/web:latest"));
        check("registry.example.org/shop/web:1.2-a_B", Some("registry.example.org/shop/web:1.2-a_B"));
        check("Web", None);
        check("", None);
        check("web:", None);
        check("web:-a", None);
        check("a//b", None);
        check("web\"", None);
    }

    #[test]
    fn files_have_one_too() {
        let check = |file: &str, expected: &str| assert_eq!(Reference::of_file(file.as_ref()).to_string(), expected);
        check("images/My_App.oci.tar", "my-app:latest");
        check("web.tar", "web:latest");
        check("….tar", "unikernel:latest");
    }
}
