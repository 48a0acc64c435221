//! Counts words: `echo one two three | nc -q1 localhost 7000`. Health and metrics are on port 8080.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_http::serve;
use unikernel_net::Stack;
use unikernel_rt::{Result, spawn_named, sync::Semaphore};

use {{crate_name}}::{CLIENTS_MAX, admin, run};

#[unikernel_rt::main]
async fn main(stack: Stack) -> Result {
    let room = Semaphore::new(CLIENTS_MAX);
    let admin = serve(stack.listen(8080)?, admin(room.clone()));
    spawn_named("admin", admin);
    run(stack.listen(7000)?, room).await;
    Ok(())
}

#[cfg(test)]
mod tests;
