//! On the workstation: `cargo test`. Tests are in virtual time, so waiting takes none.

use unikernel_rt::{
    Acquire, Args, Machine, Result,
    time::{Duration, Instant, sleep},
};

use {{crate_name}}::greeting;

#[test]
fn everybody_is_greeted() {
    assert!(greeting("Ada").starts_with("hello, Ada"));
}

#[unikernel_rt::test(args = "name=Ada")]
async fn the_app_ends_in_order() -> Result {
    super::main(Args::acquire(&mut Machine::new()).await?).await
}

#[unikernel_rt::test]
async fn an_hour_passes_at_once() {
    let start = Instant::now();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3600));
}
