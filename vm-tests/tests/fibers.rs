//! Fibers on the machine itself: stacks, switches, and what becomes of them.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the host there is no machine to test, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use core::{
    array,
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
};
use unikernel_rt::{
    entropy,
    fiber::{Cancelled, Fiber, Step, Suspend},
    heap, spawn, spawn_supervised,
    task::{Panicked, yield_now},
    time::{Duration, sleep},
};

unikernel_rt::test_harness!();

const STACK_LEN: usize = 32 * 1024;

/// Suspends on the way down and on the way up, and looks after its locals each time.
fn descend(suspend: &Suspend<u64, u64>, depth: u64, seed: u64) -> u64 {
    let locals: [u64; 16] = black_box(array::from_fn(|index| seed ^ (depth << 8) ^ index as u64));
    let given = suspend.suspend(depth).expect("nobody drops it");
    let below = if depth == 0 { 0 } else { descend(suspend, depth - 1, seed) };
    let given_later = suspend.suspend(depth).expect("nobody drops it");
    for (index, local) in black_box(locals).iter().enumerate() {
        assert_eq!(*local, seed ^ (depth << 8) ^ index as u64, "a local at depth {depth} has changed");
    }
    below + given + given_later
}

/// A computation of `2 * depth + 2` suspensions, which returns the sum of its inputs but the first.
fn descending(depth: u64, seed: u64) -> Fiber<u64, u64> {
    Fiber::new(STACK_LEN, move |suspend, _| descend(&suspend, depth, seed)).expect("there is memory")
}

#[unikernel_rt::test]
async fn many_fibers_interleave_and_keep_their_locals() {
    const FIBERS: u64 = 200;
    // Each goes to a depth of its own, so that they end one after the other.
    let mut fibers: Vec<_> = (0..FIBERS).map(|number| (descending(number % 50, number << 32), number, 0)).collect();
    while !fibers.is_empty() {
        // Not always in the same order.
        let next = entropy::u64() as usize % fibers.len();
        let (fiber, number, turns) = &mut fibers[next];
        let depth = *number % 50;
        match fiber.resume(*number) {
            Step::Suspended(_) => *turns += 1,
            Step::Returned(sum) => {
                assert_eq!((*turns, sum), (2 * depth + 2, (2 * depth + 2) * *number));
                fibers.swap_remove(next);
            }
        }
    }
}

#[unikernel_rt::test]
async fn tasks_wait_for_what_fibers_ask_for() {
    let tasks: Vec<_> = (1..=50_u64)
        .map(|number| {
            spawn(async move {
                let mut fiber = descending(10, number);
                let mut waits = 0;
                while let Step::Suspended(_) = fiber.resume(number) {
                    waits += 1;
                    if waits % 7 == 0 {
                        sleep(Duration::from_micros(number * 10)).await;
                    } else {
                        yield_now().await;
                    }
                }
                waits
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await, Some(22));
    }
}

/// A few are kept, whichever way their fibers ended.
#[unikernel_rt::test]
async fn stacks_are_used_again() {
    let run_some = |count: u64| {
        let mut fibers: Vec<_> = (0..count).map(|number| descending(5, number)).collect();
        for fiber in &mut fibers[1..] {
            while let Step::Suspended(_) = fiber.resume(1) {}
        }
    };
    run_some(40);
    let before = heap::stats().in_use;
    for count in [1, 10, 40, 20] {
        run_some(count);
        assert_eq!(heap::stats().in_use, before, "after {count} fibers at once");
    }
}

/// Adds one to a counter when it is dropped.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[unikernel_rt::test]
async fn a_dropped_fiber_drops_what_is_on_its_stack() {
    let dropped = Arc::new(AtomicUsize::new(0));
    for round in 0..100 {
        let on_stack = Counts(dropped.clone());
        let mut fiber = Fiber::new(STACK_LEN, move |suspend, ()| {
            let _on_stack = on_stack;
            while suspend.suspend(()).is_ok() {}
            assert_eq!(suspend.suspend(()), Err(Cancelled));
        })
        .expect("there is memory");
        // In the first round it does not even start.
        for _ in 0..round {
            assert_eq!(fiber.resume(()), Step::Suspended(()));
        }
        assert_eq!(dropped.load(Ordering::Relaxed), round);
        drop(fiber);
        assert_eq!(dropped.load(Ordering::Relaxed), round + 1);
    }
}

#[unikernel_rt::test]
async fn an_aborted_task_cancels_its_fiber() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let on_stack = Counts(dropped.clone());
    let task = spawn(async move {
        let mut fiber = Fiber::new(STACK_LEN, move |suspend: Suspend<(), ()>, ()| {
            let _on_stack = on_stack;
            while suspend.suspend(()).is_ok() {}
        })
        .expect("there is memory");
        loop {
            fiber.resume(());
            yield_now().await;
        }
    });
    yield_now().await;
    yield_now().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    task.abort();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[unikernel_rt::test]
async fn a_fiber_resumes_fibers_of_its_own() {
    let mut outer = Fiber::new(STACK_LEN, |suspend, start: u64| {
        let mut sum = start;
        let mut inner = descending(8, 3);
        while let Step::Suspended(depth) = inner.resume(1) {
            sum += depth;
            sum += suspend.suspend(sum).expect("nobody drops it");
        }
        sum
    })
    .expect("there is memory");
    while let Step::Suspended(_) = outer.resume(0) {}
}

#[unikernel_rt::test]
async fn a_panic_on_a_fiber_ends_a_supervised_task_alone() {
    for round in 0..3 {
        let task = spawn_supervised(async move {
            let mut outer = Fiber::new(STACK_LEN, move |suspend: Suspend<(), ()>, ()| {
                let mut inner = Fiber::new(STACK_LEN, move |suspend: Suspend<(), ()>, ()| {
                    suspend.suspend(()).expect("nobody drops it");
                    assert_eq!(round, 100, "this panic is part of the test");
                })
                .expect("there is memory");
                while let Step::Suspended(()) = inner.resume(()) {
                    suspend.suspend(()).expect("nobody drops it");
                }
            })
            .expect("there is memory");
            while let Step::Suspended(()) = outer.resume(()) {
                yield_now().await;
            }
        });
        assert_eq!(task.await, Some(Err(Panicked)));
        let mut other = descending(20, round);
        while let Step::Suspended(_) = other.resume(1) {
            yield_now().await;
        }
    }
}

#[unikernel_rt::test]
async fn no_memory_for_a_stack_is_an_error() {
    for stack_len in [heap::stats().total, usize::MAX / 2, usize::MAX] {
        let error = Fiber::new(stack_len, |_: Suspend<(), ()>, ()| ()).err().expect("there is no such stack");
        assert_eq!(error.stack_len, stack_len);
    }
}

/// Stacks that wait count as free and are given back before an allocation fails; their guard pages can be written again.
#[unikernel_rt::test]
async fn a_full_heap_takes_the_stacks_that_wait() {
    const BLOCK_LEN: usize = 16 * 1024;
    const STACK_LEN: usize = 256 * 1024;
    let fibers: Vec<_> = (0..4).map(|_| Fiber::new(STACK_LEN, |_: Suspend<(), ()>, ()| ())).collect();
    assert!(fibers.iter().all(Result::is_ok));
    let free = heap::free();
    drop(fibers);
    assert!(heap::free() >= free + 4 * STACK_LEN, "{} after {free}", heap::free());
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(heap::stats().total / BLOCK_LEN);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(BLOCK_LEN).is_err() {
            break;
        }
        block.resize(BLOCK_LEN, 0xa5);
        blocks.push(block);
    }
    assert!(heap::free() < 2 * STACK_LEN, "{} bytes are left", heap::free());
    drop(blocks);
    many_turns();
}

/// New stacks of the memory that was in use otherwise.
fn many_turns() {
    let mut fibers: Vec<_> = (0..20).map(|number| descending(30, number)).collect();
    for fiber in &mut fibers {
        while let Step::Suspended(_) = fiber.resume(1) {}
    }
}
