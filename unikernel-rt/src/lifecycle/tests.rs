//! Stops in virtual time; each test says when the machine would have ended, and how.

use super::*;
use crate::{platform::block_on, time::sleep};
use std::{format, string::String};

/// Runs `main` as a machine would, with a stop after a second. The result: the moment of the end and the exit code.
fn check<F: Future<Output = ()> + 'static>(args: &'static str, main: impl FnOnce() -> F + 'static, expected: &str) {
    let ended: String = block_on(args, async move {
        crate::spawn(async move {
            run_main(main()).await;
            main_returned(0);
        });
        let (life, at) = (this(), Instant::from_micros(1_000_000));
        crate::time::sleep_until(at).await;
        life.stop();
        let code = life.wind_down().await;
        format!("{} ms, code {code}", Instant::now().as_micros() / 1000)
    });
    assert_eq!(ended, expected);
}

fn seconds(seconds: u64) -> impl Future<Output = ()> {
    sleep(Duration::from_secs(seconds))
}

#[test]
fn nobody_listens() {
    check("", || seconds(100), "1000 ms, code 0");
}

#[test]
fn main_listens_and_is_waited_for() {
    let main = || async {
        let _busy = stopping().await;
        seconds(2).await;
    };
    check("", main, "3000 ms, code 0");
}

#[test]
fn a_task_that_listens_is_waited_for_while_it_holds_the_guard() {
    let main = || async {
        crate::spawn(async {
            let _busy = stopping().await;
            seconds(3).await;
        });
        seconds(100).await;
    };
    check("", main, "4000 ms, code 0");
}

#[test]
fn whoever_gave_up_listening_is_not_waited_for() {
    let main = || async {
        crate::spawn(async {
            assert!(timeout(Duration::from_millis(1), stopping()).await.is_err());
            seconds(100).await;
        });
        seconds(100).await;
    };
    check("", main, "1000 ms, code 0");
}

#[test]
fn hooks_run_last_and_the_last_one_first() {
    let main = || async {
        on_stop(|| async {
            assert_eq!(Instant::now().as_micros(), 6_000_000);
        });
        on_stop(|| async {
            assert_eq!(Instant::now().as_micros(), 5_000_000);
            seconds(1).await;
        });
        let busy = busy();
        seconds(5).await;
        drop(busy);
        seconds(100).await;
    };
    check("", main, "6000 ms, code 0");
}

#[test]
fn whoever_takes_too_long_is_left_behind() {
    let main = || async {
        let _busy = busy();
        seconds(100).await;
    };
    check("", main, "11000 ms, code 106");
    check("stop-timeout=2", main, "3000 ms, code 106");
    check("stop-timeout=0", || seconds(100), "1000 ms, code 0");
}

#[test]
fn a_listener_after_the_stop_is_told_at_once() {
    let main = || async {
        let _busy = busy();
        seconds(3).await;
        let _busy = stopping().await;
        assert_eq!(Instant::now().as_micros(), 3_000_000);
    };
    check("", main, "3000 ms, code 0");
}

#[test]
fn the_return_of_main_is_a_stop() {
    block_on("", async {
        crate::spawn(async {
            let _busy = stopping().await;
            seconds(1).await;
        });
        seconds(1).await;
        main_returned(7);
        assert!(is_stopping());
        assert_eq!(this().wind_down().await, 7);
        assert_eq!(Instant::now().as_micros(), 2_000_000);
    });
}
