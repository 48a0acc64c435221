//! Files that are being made, before they have their name.

use crate::{Volume, error::Cause};
use alloc::{format, string::String};
use unikernel_rt::entropy;

const PREFIX: &str = ".new-";
const DIGITS: usize = 16;

/// A name in the root folder that nobody else uses.
pub(crate) fn name() -> String {
    format!("{PREFIX}{:0DIGITS$x}", entropy::u64())
}

fn is_draft(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes what a loss of power left half made.
pub(crate) async fn remove_left_overs(volume: &Volume) -> Result<(), Cause> {
    if volume.info().is_read_only {
        return Ok(());
    }
    let cause = |error: crate::Error| error.cause().clone();
    for entry in volume.list("").await.map_err(cause)? {
        if is_draft(&entry.name) {
            volume.remove(&entry.name).await.map_err(cause)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_and_others() {
        assert!(is_draft(&name()) && name() != name());
        for other in [
            "",
            "new",
            ".new-",
            ".new-0123",
            ".new-0123456789abcdeg",
            ".new-0123456789abcdef0",
            "a.new-0123456789abcdef",
        ] {
            assert!(!is_draft(other), "{other}");
        }
    }
}
