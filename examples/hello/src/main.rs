//! Says hello, counts to three, and ends: the machine powers off with exit code 0.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_rt::{
    log::info,
    time::{Duration, Instant, sleep},
};

#[unikernel_rt::main]
async fn main() -> unikernel_rt::Result {
    info!("hello from a machine that runs one program");
    for second in 1..=3 {
        sleep(Duration::from_secs(1)).await;
        info!("{} s, by the clock {} us since boot", second, Instant::now().as_micros());
    }
    Ok(())
}
