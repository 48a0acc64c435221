//! Serves the folder `site/`, which is compiled into the image: http://localhost:8080/.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_http::{Dir, Router, ServeDir, include_dir, serve};
use unikernel_net::Stack;

static SITE: Dir = include_dir!("site");

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let router = Router::new().fallback(ServeDir::embedded(&SITE));
    serve(stack.listen(8080)?, router).await
}

#[cfg(test)]
mod tests;
