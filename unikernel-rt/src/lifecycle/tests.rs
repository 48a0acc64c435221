//! Stops in virtual time; each test says when the machine would have ended, and how.

use super::*;
use crate::{platform::block_on, time::sleep};
use std::{
    format,
    string::{String, ToString},
};

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
    check("", main, "6000 ms, code 106");
    check("stop-timeout=2", main, "2000 ms, code 106");
    check("stop-timeout=0", main, "1000 ms, code 106");
    check("stop-timeout=0", || seconds(100), "1000 ms, code 0");
}

#[test]
fn hooks_have_what_is_left_of_the_time_when_work_is_late() {
    let main = || async {
        on_stop(|| async {
            assert_eq!(Instant::now().as_micros(), 6_000_000);
            seconds(4).await;
        });
        let _busy = busy();
        seconds(100).await;
    };
    check("", main, "10000 ms, code 106");
}

#[test]
fn a_hook_that_takes_too_long_is_left_behind() {
    let main = || async {
        on_stop(|| async { panic!("there is no time left") });
        on_stop(|| seconds(100));
        seconds(100).await;
    };
    check("", main, "11000 ms, code 106");
    check("stop-timeout=2", main, "3000 ms, code 106");
}

#[test]
fn a_hook_goes_with_its_owner() {
    let main = || async {
        let (gone, there) = (Rc::new(()), Rc::new(2));
        on_stop_of(&gone, |_| async { panic!("its owner is gone") });
        on_stop_of(&there, |owner| seconds(*owner));
        drop(gone);
        seconds(100).await;
        drop(there);
    };
    check("", main, "3000 ms, code 0");
}

#[test]
fn what_is_late_is_named() {
    let named = block_on("", async {
        let (line, hook) = (line!(), || seconds(100));
        on_stop(hook);
        let life = this();
        let hooks = life.hooks.borrow();
        hooks.iter().all(|hook| hook.location.file() == file!() && hook.location.line() == line + 1)
    });
    assert!(named, "a hook is known by the place of its registration");
}

#[test]
fn main_is_not_waited_for_once_it_gave_up_listening() {
    let main = || async {
        assert!(timeout(Duration::from_millis(1), stopping()).await.is_err());
        seconds(100).await;
    };
    check("", main, "1000 ms, code 0");
}

#[test]
fn a_task_that_panicked_is_not_waited_for() {
    let main = || async {
        // What a panic leaves on a machine, where nothing is unwound.
        crate::spawn_supervised(async {
            core::mem::forget((busy(), busy()));
            panic!("as the test wants it");
        });
        crate::task::yield_now().await;
        crate::task::yield_now().await;
        assert!(this().work.borrow().is_empty());
        seconds(100).await;
    };
    check("", main, "1000 ms, code 0");
}

#[test]
fn a_guard_whose_task_panicked_frees_nobody_elses_work() {
    let main = || async {
        let (send, receive) = crate::sync::oneshot();
        crate::spawn_supervised(async {
            send.send(busy()).ok();
            panic!("as the test wants it");
        });
        let guard = receive.await.expect("the guard was sent");
        // It gets the slot.
        let _busy = busy();
        drop(guard);
        seconds(3).await;
    };
    check("", main, "3000 ms, code 0");
}

#[test]
fn a_wrong_limit_is_explained() {
    let error = crate::args::BootArgs::parse("stop-timeout=1.5");
    let shown = block_on("", async {
        crate::platform::with_core(|core| *core.args.borrow_mut() = error);
        configure().unwrap_err().to_string()
    });
    assert_eq!(
        shown,
        "boot argument `stop-timeout=1.5`: expected a whole number of seconds, such as `stop-timeout=30`"
    );
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
