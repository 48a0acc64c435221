//! Tasks, time, heap and randomness on the machine itself.
// ANCHOR: attributes
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the host there is no machine to test, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]
// ANCHOR_END: attributes

extern crate alloc;

use alloc::{collections::BTreeMap, vec, vec::Vec};
use unikernel_rt::{
    device::Frame,
    entropy, heap, spawn, spawn_named, spawn_supervised,
    sync::{channel, oneshot},
    task::{Panicked, TaskState, tasks, yield_now},
    time::{Duration, Instant, set_unix_time, sleep, timeout, unix_time},
};

// ANCHOR: test
unikernel_rt::test_harness!();

#[unikernel_rt::test]
async fn sleeping_takes_its_time() {
    for millis in [1, 10, 100] {
        let start = Instant::now();
        sleep(Duration::from_millis(millis)).await;
        assert!(start.elapsed() >= Duration::from_millis(millis), "{:?} for {millis} ms", start.elapsed());
    }
}
// ANCHOR_END: test

#[unikernel_rt::test]
async fn timers_fire_in_order_and_dropped_ones_do_not() {
    let (sender, mut receiver) = channel(10);
    for millis in [30_u64, 10, 20] {
        let sender = sender.clone();
        spawn(async move {
            sleep(Duration::from_millis(millis)).await;
            sender.send(millis).await.expect("the receiver is there");
        });
    }
    drop(sender);
    assert!(timeout(Duration::from_millis(1), sleep(Duration::from_secs(3600))).await.is_err());
    let mut seen = Vec::new();
    while let Some(millis) = receiver.receive().await {
        seen.push(millis);
    }
    assert_eq!(seen, [10, 20, 30]);
}

#[unikernel_rt::test]
async fn the_time_of_a_task_is_what_its_polls_took() {
    let busy = |millis| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(millis) {}
    };
    let start = Instant::now();
    let (sender, receiver) = oneshot();
    let task = spawn_named("busy", async move {
        for millis in [3, 10, 5] {
            busy(millis);
            yield_now().await;
        }
        sender.send(()).expect("the test waits for it");
        sleep(Duration::from_secs(3600)).await;
    });
    receiver.await.expect("it was sent");
    let info = tasks().into_iter().find(|task| task.name.name == "busy").expect("it sleeps");
    assert_eq!((info.state, info.polls, info.waits_for), (TaskState::Waiting, 4, "a timer"));
    // The host may have stopped the machine during a poll.
    let (least, most) = (Duration::from_millis(18), start.elapsed());
    assert!((least..=most).contains(&info.run_time), "{:?} of {most:?}", info.run_time);
    assert!((Duration::from_millis(10)..=info.run_time).contains(&info.longest_poll), "{:?}", info.longest_poll);
    task.abort();
}

#[unikernel_rt::test]
async fn the_heap_gives_back_what_it_got() {
    let before = heap::stats().in_use;
    let mut blocks = BTreeMap::new();
    for round in 0..5_000_usize {
        blocks.insert(round % 500, vec![round as u8; round * 37 % 3000]);
        if let Some(block) = blocks.get(&(round * 7 % 500)) {
            assert!(block.iter().all(|byte| *byte == block[0]), "a block was overwritten by another");
        }
    }
    drop(blocks);
    if cfg!(target_os = "none") {
        assert_eq!(heap::stats().in_use, before);
    }
}

/// Frames that wait in their pool count as free and are given back before an allocation fails.
#[unikernel_rt::test]
async fn a_full_heap_takes_the_frames_that_wait() {
    const FRAMES: usize = 10;
    const BLOCK_LEN: usize = 64 * 1024;
    let before = heap::free();
    let frames: Vec<Frame> = (0..FRAMES).map(|_| Frame::with_capacity(BLOCK_LEN)).collect();
    assert!(heap::free() <= before - FRAMES * BLOCK_LEN);
    drop(frames);
    assert!(heap::stats().free() <= before - FRAMES * BLOCK_LEN && heap::free() > before - BLOCK_LEN);
    let mut blocks = Vec::with_capacity(heap::stats().total / BLOCK_LEN);
    loop {
        let mut block = Vec::<u8>::new();
        if block.try_reserve_exact(BLOCK_LEN).is_err() {
            break;
        }
        blocks.push(block);
    }
    assert!(heap::free() < FRAMES * BLOCK_LEN, "{} bytes are left in {} blocks", heap::free(), blocks.len());
    assert!(Frame::try_with_capacity(BLOCK_LEN).is_none());
}

#[unikernel_rt::test]
async fn blocks_keep_what_is_in_them_when_they_grow_and_shrink() {
    for start in [1, 60, 64, 65, 1000, 1024, 1025, 5000] {
        let mut bytes: Vec<u8> = (0..start).map(|index| index as u8).collect();
        for len in [2 * start, start / 2 + 1, 3000, 70, 10] {
            bytes.truncate(len);
            bytes.shrink_to_fit();
            let kept = bytes.len();
            bytes.reserve_exact(len);
            assert!(bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8), "{kept} of {start}");
        }
    }
}

#[unikernel_rt::test]
async fn random_numbers_differ() {
    let numbers: Vec<u64> = (0..1000).map(|_| entropy::u64()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), numbers.len());
    let ones: u32 = numbers.iter().map(|number| number.count_ones()).sum();
    assert!((31_000..33_000).contains(&ones), "{ones} of 64,000 bits are ones");
}

#[unikernel_rt::test]
async fn the_wall_clock_is_set() {
    // 2026-01-01 to 2100-01-01.
    assert!((1_767_225_600..4_102_444_800).contains(&unix_time().as_secs()), "{:?}", unix_time());
}

#[unikernel_rt::test]
async fn the_wall_clock_steps_and_the_monotonic_clock_does_not() {
    let (told, start, shown) = (Duration::from_secs(2_000_000_000), Instant::now(), unix_time());
    set_unix_time(told);
    assert!((told..told + Duration::from_secs(1)).contains(&unix_time()), "{:?}", unix_time());
    assert!(start.elapsed() < Duration::from_secs(1));
    set_unix_time(shown + start.elapsed());
}

#[unikernel_rt::test]
async fn ten_thousand_tasks_take_turns() {
    let tasks: Vec<_> = (0..10_000_u64)
        .map(|number| {
            spawn(async move {
                yield_now().await;
                number
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("not aborted");
    }
    assert_eq!(sum, 10_000 * 9_999 / 2);
}

#[unikernel_rt::test]
async fn a_supervised_task_panics_alone() {
    for round in 0..3 {
        let task = spawn_supervised(async move {
            yield_now().await;
            assert_eq!(round, 100, "this panic is part of the test");
        });
        assert_eq!(task.await, Some(Err(Panicked)));
        sleep(Duration::from_millis(1)).await;
    }
}

/// The machine's instruction and the workstation's tables compute the same (RFC 3720, B.4).
#[unikernel_rt::test]
async fn crc32c_is_what_the_standard_says() {
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let bitwise = |bytes: &[u8]| {
        let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
    };
    assert_eq!(unikernel_rt::checksum::crc32c(0, b"123456789"), 0xe306_9283);
    for len in (0..200).chain([1000]) {
        assert_eq!(unikernel_rt::checksum::crc32c(0, &bytes[..len]), bitwise(&bytes[..len]), "{len}");
    }
}
