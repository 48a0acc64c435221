//! What the benchmark asks for, on port 80: the ordinary router and the ordinary files.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use unikernel_http::{Dir, Json, Router, ServeDir, State, get, include_dir, serve};
use unikernel_net::Stack;

/// `index.html`, `100k.bin` and `10m.bin`: see `build.rs`.
static SITE: Dir = include_dir!("$OUT_DIR/site");

async fn hello() -> &'static str {
    "Hello, World!"
}

/// For the mixed load, after which nothing may be left.
async fn stats(State(stack): State<Stack>) -> Json<BTreeMap<&'static str, usize>> {
    let heap_in_use = unikernel_rt::heap::stats().in_use;
    Json(BTreeMap::from([("heap_in_use", heap_in_use), ("connections", stack.stats().flows)]))
}

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let router = Router::new().route("/hello", get(hello)).route("/stats", get(stats));
    let router = router.fallback(ServeDir::embedded(&SITE)).with_state(stack.clone());
    serve(stack.listen(80)?, router).await
}

#[cfg(test)]
mod tests;
