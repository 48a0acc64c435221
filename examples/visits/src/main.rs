//! Counts visits in a Redis: `curl localhost:8080`. Boot argument: `redis=HOST:PORT`.
//!
//! All state is in Redis, so any number of these machines count together, and none is missed when it goes.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod connection;
mod redis;
mod resp;

use address::Address;
use alloc::{format, string::String};
use redis::{Redis, Unavailable};
use resp::Reply;
use unikernel_http::{Router, State, Status, get, serve};
use unikernel_net::Stack;
use unikernel_rt::{Args, Error, Result};

#[unikernel_rt::main]
async fn main(args: Args, stack: Stack) -> Result {
    let missing = || Error::msg("which Redis? start with the boot argument `redis=HOST:PORT`");
    let redis = args.get("redis")?.ok_or_else(missing)?;
    args.finish()?;
    run(stack, redis).await
}

async fn run(stack: Stack, redis: Address) -> Result {
    let redis = Redis::start(stack.clone(), redis);
    serve(stack.listen(8080)?, Router::new().route("/", get(visit)).with_state(redis)).await
}

async fn visit(State(redis): State<Redis>) -> Result<String, (Status, String)> {
    match redis.ask(&[b"INCR", b"visits"]).await {
        Ok(Reply::Integer(count)) => Ok(format!("visit {count}\n")),
        Ok(Reply::Error(text)) => Err(away(format!("Redis says: {text}"))),
        Ok(other) => Err(away(format!("Redis answers INCR with {other:?}"))),
        Err(Unavailable(reason)) => Err(away(reason)),
    }
}

fn away(reason: String) -> (Status, String) {
    (Status::SERVICE_UNAVAILABLE, format!("not counted: {reason}\n"))
}

#[cfg(test)]
mod tests;
