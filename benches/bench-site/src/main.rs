//! What the benchmark asks for, on port 80: the ordinary router and the ordinary files.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_http::{Dir, Router, ServeDir, get, include_dir, serve};
use unikernel_net::Stack;

/// `index.html`, `100k.bin` and `10m.bin`: see `build.rs`.
static SITE: Dir = include_dir!("$OUT_DIR/site");

async fn hello() -> &'static str {
    "Hello, World!"
}

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let router = Router::new().route("/hello", get(hello)).fallback(ServeDir::embedded(&SITE));
    serve(stack.listen(80)?, router).await
}

#[cfg(test)]
mod tests;
