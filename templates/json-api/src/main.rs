//! Serves the API on port 8080.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_http::serve;
use unikernel_net::Stack;

use {{crate_name}}::api;

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    serve(stack.listen(8080)?, api()).await
}

#[cfg(test)]
mod tests;
