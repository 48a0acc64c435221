//! In a virtual machine: `cargo unikernel test`.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the workstation there is no machine, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

use unikernel_rt::time::{Duration, Instant, sleep};

use {{crate_name}}::greeting;

unikernel_rt::test_harness!();

#[unikernel_rt::test]
async fn the_greeting_is_made_here_too() {
    assert!(greeting("Ada").starts_with("hello, Ada"));
}

#[unikernel_rt::test]
async fn the_clock_moves() {
    let start = Instant::now();
    sleep(Duration::from_millis(20)).await;
    assert!(start.elapsed() >= Duration::from_millis(20));
}
