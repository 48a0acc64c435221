//! Listings of the page "The first app in five minutes": the template `http`.

use alloc::{format, string::String};
use unikernel_http::{Html, Path, Router, get, serve};
use unikernel_net::Stack;

// ANCHOR: pages
/// What answers to which path.
pub fn pages() -> Router {
    Router::new().route("/", get(home)).route("/hello/{name}", get(hello))
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
// ANCHOR_END: pages

/// The app.
// ANCHOR: main
pub async fn main(stack: Stack) -> unikernel_rt::Result {
    serve(stack.listen(8080)?, pages()).await
}
// ANCHOR_END: main
