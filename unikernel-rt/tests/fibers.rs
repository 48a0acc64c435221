//! Fibers on the workstation. `vm-tests/tests/fibers.rs` does the same and more on the machine.

use std::{
    fmt::Debug,
    mem::forget,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Sender, channel},
};
use unikernel_rt::{
    fiber::{Cancelled, Fiber, OutOfMemory, Step, Suspend},
    spawn_supervised,
    task::Panicked,
};

const STACK_LEN: usize = 32 * 1024;

#[test]
fn both_sides_take_turns() {
    let mut fiber = Fiber::new(STACK_LEN, |suspend, first: u32| {
        let second = suspend.suspend(first * 2).unwrap();
        let third = suspend.suspend(first + second).unwrap();
        first + second + third
    })
    .unwrap();
    assert_eq!(fiber.resume(10), Step::Suspended(20));
    assert_eq!(fiber.resume(5), Step::Suspended(15));
    assert_eq!(fiber.resume(1), Step::Returned(16));
}

#[test]
fn thousands_of_turns() {
    const TURNS: u64 = 10_000;
    let mut fiber = Fiber::new(STACK_LEN, |suspend: Suspend<u64, u64>, mut input| {
        let mut sum = 0;
        while input < TURNS {
            sum += input;
            input = suspend.suspend(sum).unwrap();
        }
        sum
    })
    .unwrap();
    let mut expected = 0;
    for turn in 0..TURNS {
        expected += turn;
        assert_eq!(fiber.resume(turn), Step::Suspended(expected));
    }
    assert_eq!(fiber.resume(TURNS), Step::Returned(expected));
}

/// Says its name when it is dropped.
struct Tells(Sender<&'static str>, &'static str);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.send(self.1).expect("the test listens");
    }
}

#[test]
fn a_dropped_fiber_drops_what_is_on_its_stack() {
    let (sender, told) = channel();
    let mut fiber = Fiber::new(STACK_LEN, move |suspend: Suspend<(), ()>, ()| {
        let _outer = Tells(sender.clone(), "outer");
        let _inner = Tells(sender.clone(), "inner");
        assert_eq!(suspend.suspend(()), Ok(()));
        assert_eq!(suspend.suspend(()), Err(Cancelled));
        assert_eq!(suspend.suspend(()), Err(Cancelled));
        sender.send("returns").expect("the test listens");
    })
    .unwrap();
    fiber.resume(());
    fiber.resume(());
    assert_eq!(told.try_iter().count(), 0);
    drop(fiber);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["returns", "inner", "outer"]);
}

#[test]
fn a_fiber_that_never_started_does_not_run() {
    let (sender, told) = channel();
    let held = Tells(sender.clone(), "dropped");
    let fiber = Fiber::new(STACK_LEN, move |_: Suspend<(), ()>, ()| {
        let _held = held;
        sender.send("ran").expect("the test listens");
    });
    drop(fiber);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["dropped"]);
}

/// The text of the panic that `f` ends with.
fn panic_of<T: Debug>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<&str>().map(|text| text.to_string()).unwrap_or_else(|| *payload.downcast().unwrap())
}

#[test]
fn a_panic_reaches_the_resumer() {
    let mut fiber = Fiber::new(STACK_LEN, |suspend, ()| {
        suspend.suspend(()).unwrap();
        panic!("this panic is part of the test");
    })
    .unwrap();
    fiber.resume(());
    assert_eq!(panic_of(|| fiber.resume(())), "this panic is part of the test");
    assert!(panic_of(|| fiber.resume(())).contains("cannot be resumed"));
}

#[test]
fn a_panic_while_it_is_cancelled_reaches_who_drops_it() {
    let mut fiber = Fiber::new(STACK_LEN, |suspend, ()| suspend.suspend(()).expect("part of the test")).unwrap();
    fiber.resume(());
    assert_eq!(panic_of(|| drop(fiber)), "part of the test: Cancelled");
}

#[test]
fn one_that_returned_cannot_be_resumed() {
    let mut fiber = Fiber::new(STACK_LEN, |_, ()| ()).unwrap();
    assert_eq!(fiber.resume(()), Step::Returned(()));
    assert!(panic_of(|| fiber.resume(())).contains("cannot be resumed"));
}

#[test]
fn the_end_is_seen_whatever_became_of_suspend() {
    let mut dropped = Fiber::new(STACK_LEN, |suspend, ()| drop(suspend)).unwrap();
    assert_eq!(dropped.resume(()), Step::Returned(()));
    let mut forgotten = Fiber::new(STACK_LEN, |suspend, ()| forget(suspend)).unwrap();
    assert_eq!(forgotten.resume(()), Step::Returned(()));
}

#[test]
fn a_stack_too_large_is_an_error() {
    const STACK_LEN: usize = isize::MAX as usize / 2;
    let error = Fiber::new(STACK_LEN, |_: Suspend<(), ()>, ()| ()).err();
    assert_eq!(error, Some(OutOfMemory { stack_len: STACK_LEN }));
}

#[unikernel_rt::test]
async fn a_panic_on_a_fiber_ends_a_supervised_task_alone() {
    let task = spawn_supervised(async {
        let mut fiber = Fiber::new(STACK_LEN, |_, ()| panic!("this panic is part of the test")).unwrap();
        let _: Step<()> = fiber.resume(());
    });
    assert_eq!(task.await, Some(Err(Panicked)));
}
