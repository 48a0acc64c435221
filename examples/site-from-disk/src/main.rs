//! Serves the files of the first disk: http://localhost:8080/. Replace the image, not the kernel.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_blockfs::Volume;
use unikernel_http::{Router, ServeDir, serve};
use unikernel_net::Stack;

#[unikernel_rt::main]
async fn main(stack: Stack, site: Volume) -> unikernel_rt::Result {
    serve(stack.listen(8080)?, Router::new().fallback(ServeDir::new(site))).await
}

#[cfg(test)]
mod tests;
