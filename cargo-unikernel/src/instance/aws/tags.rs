//! The tags by which what was made is found again: there is no other memory of it.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

/// Who made it.
pub const MANAGED: &str = "unikernel:managed";
/// The value of [`MANAGED`].
pub const US: &str = "cargo-unikernel";
/// The instance's name.
pub const NAME: &str = "unikernel:name";
/// The SHA-256 of the raw disk.
pub const SHA256: &str = "unikernel:image-sha256";
/// What the file of the image was called.
pub const IMAGE: &str = "unikernel:image";
/// Of an AMI: the snapshot that was uploaded for it.
pub const SNAPSHOT: &str = "unikernel:snapshot";
/// By which `create` it was made: a number of which there is only one.
pub const CREATION: &str = "unikernel:creation";
/// The build id of the kernel, which log lines are decoded with.
pub const BUILD: &str = "unikernel:build";

/// EC2's limit of a value.
const VALUE_LEN_MAX: usize = 256;

/// Keys with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(pub Vec<(&'static str, String)>);

impl Tags {
    /// Those that all have.
    pub fn of(creation: &str, sha256: &str, image: &str) -> Tags {
        let image = image.chars().take(VALUE_LEN_MAX).collect();
        Tags(vec![(MANAGED, US.into()), (CREATION, creation.into()), (SHA256, sha256.into()), (IMAGE, image)])
    }

    /// And this one.
    pub fn with(mut self, key: &'static str, value: &str) -> Tags {
        self.0.push((key, value.into()));
        self
    }

    /// As EC2 takes them.
    pub fn ec2(&self) -> Vec<Tag> {
        self.0.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect()
    }

    /// As EC2 takes them for something that is about to be made.
    pub fn for_new(&self, kind: ResourceType) -> TagSpecification {
        TagSpecification::builder().resource_type(kind).set_tags(Some(self.ec2())).build()
    }

    /// As the EBS direct APIs take them.
    pub fn ebs(&self) -> Vec<aws_sdk_ebs::types::Tag> {
        self.0.iter().map(|(key, value)| aws_sdk_ebs::types::Tag::builder().key(*key).value(value).build()).collect()
    }
}

/// The value of a tag.
pub fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// What has this tag. In values `*` and `?` stand for others: neither names nor checksums have them.
pub fn has(key: &str, value: &str) -> Filter {
    filter(&format!("tag:{key}"), value)
}

/// What was made by this tool.
pub fn is_ours() -> Filter {
    has(MANAGED, US)
}

/// A filter with one value.
pub fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_again() {
        let tags = Tags::of("c-1", "ab", &"x".repeat(300)).with(NAME, "web");
        let ec2 = tags.ec2();
        let check = |key: &str, expected: Option<&str>| assert_eq!(value(&ec2, key), expected, "{key}");
        check(MANAGED, Some("cargo-unikernel"));
        check(NAME, Some("web"));
        check(SNAPSHOT, None);
        check(IMAGE, Some(&"x".repeat(256)));
        assert_eq!(tags.ebs().len(), ec2.len());
    }
}
