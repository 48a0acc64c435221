//! The pages of {{project-name}}.
//!
//! They stand in a library, so that tests reach them: on the workstation and in the machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, string::String};
use unikernel_http::{Html, Path, Router, get};

/// What answers to which path.
pub fn pages() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/hello/{name}", get(hello))
}

async fn home() -> Html<&'static str> {
    Html(include_str!("home.html"))
}

async fn hello(Path(name): Path<String>) -> String {
    greeting(&name)
}

/// The greeting for somebody.
pub fn greeting(name: &str) -> String {
    format!("hello, {name}\n")
}
