//! The site of {{project-name}}.
//!
//! It stands in a library, so that tests reach it: on the workstation and in the machine.
#![no_std]
#![forbid(unsafe_code)]

use unikernel_http::{Dir, Router, ServeDir, include_dir};

/// The files of `site/`, as they were when the image was built.
pub static SITE: Dir = include_dir!("site");

/// What answers to which path.
pub fn site() -> Router {
    Router::new().fallback(ServeDir::embedded(&SITE))
}
