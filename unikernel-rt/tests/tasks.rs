//! Tasks, timers and channels in virtual time.

use std::{cell::Cell, rc::Rc};
use unikernel_rt::{
    spawn, spawn_named, spawn_supervised,
    sync::{Notify, Semaphore, channel, oneshot},
    task::{self, Panicked, TaskInfo, TaskState, yield_now},
    time::{Duration, Elapsed, Instant, sleep, sleep_until, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

#[unikernel_rt::test]
async fn sleeping_takes_exactly_its_time_and_no_real_time() {
    sleep(3600 * SECOND).await;
    assert_eq!(Instant::now(), Instant::from_millis(3_600_000));
}

#[unikernel_rt::test]
async fn a_task_gives_its_result() {
    let task = spawn(async {
        sleep(SECOND).await;
        7
    });
    assert!(!task.is_finished());
    assert_eq!(task.await, Some(7));
}

#[unikernel_rt::test]
async fn an_aborted_task_is_dropped_at_once() {
    let held = Rc::new(());
    let theirs = held.clone();
    let task = spawn(async move {
        sleep(SECOND).await;
        drop(theirs);
    });
    yield_now().await;
    task.abort();
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(task.await, None);
}

#[unikernel_rt::test]
async fn a_task_aborted_before_its_first_poll_is_over() {
    let first = spawn(async { unreachable!("it was aborted") });
    first.abort();
    assert!(first.is_finished());
    // Its number may be another task's by now.
    let second = spawn(async { 2 });
    first.abort();
    assert_eq!(first.await, None::<()>);
    assert_eq!(second.await, Some(2));
}

#[unikernel_rt::test]
async fn aborting_a_finished_task_leaves_its_successor_alone() {
    let first = spawn(async {});
    yield_now().await;
    let second = spawn(async { 2 });
    first.abort();
    assert_eq!(second.await, Some(2));
}

#[unikernel_rt::test]
async fn a_time_limit_cuts_and_an_early_result_counts() {
    assert_eq!(timeout(SECOND, sleep(2 * SECOND)).await, Err(Elapsed));
    assert_eq!(timeout(SECOND, async { 5 }).await, Ok(5));
    assert_eq!(Instant::now(), Instant::from_millis(1000));
}

#[unikernel_rt::test]
async fn a_timer_can_be_put_off_and_brought_forward() {
    let mut timer = sleep_until(Instant::from_millis(10));
    assert!(timeout(Duration::from_millis(5), &mut timer).await.is_err());
    timer.reset(Instant::from_millis(50));
    assert!(timeout(Duration::from_millis(30), &mut timer).await.is_err());
    timer.reset(Instant::from_millis(40));
    timer.await;
    assert_eq!(Instant::now(), Instant::from_millis(40));
}

#[unikernel_rt::test]
async fn a_full_channel_holds_its_senders_back_in_order() {
    let (sender, mut receiver) = channel(2);
    for value in 0..6 {
        let sender = sender.clone();
        spawn(async move { sender.send(value).await });
    }
    drop(sender);
    yield_now().await;
    let mut seen = Vec::new();
    while let Some(value) = receiver.receive().await {
        seen.push(value);
        yield_now().await;
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
}

#[unikernel_rt::test]
async fn a_sender_that_gives_up_passes_its_turn_on() {
    let (sender, mut receiver) = channel(1);
    sender.send(0).await.unwrap();
    let impatient = spawn({
        let sender = sender.clone();
        async move { sender.send(1).await }
    });
    let patient = spawn(async move { sender.send(2).await });
    yield_now().await;
    assert_eq!(receiver.receive().await, Some(0));
    impatient.abort();
    assert_eq!(receiver.receive().await, Some(2));
    assert_eq!(patient.await, Some(Ok(())));
}

#[unikernel_rt::test]
async fn sending_to_nobody_gives_the_value_back() {
    let (sender, receiver) = channel(1);
    drop(receiver);
    assert_eq!(sender.send("x").await.unwrap_err().0, "x");
    let (sender, receiver) = oneshot();
    drop(receiver);
    assert_eq!(sender.send("y"), Err("y"));
}

#[unikernel_rt::test]
async fn a_oneshot_tells_that_its_sender_is_gone() {
    let (sender, receiver) = oneshot::<u8>();
    spawn(async move {
        sleep(SECOND).await;
        drop(sender);
    });
    assert_eq!(receiver.await, None);
}

#[unikernel_rt::test]
async fn a_semaphore_bounds_how_many_run() {
    let (semaphore, running, most) = (Semaphore::new(3), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (semaphore, running, most) = (semaphore.clone(), running.clone(), most.clone());
            spawn(async move {
                let _permit = semaphore.acquire().await;
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                sleep(SECOND).await;
                running.set(running.get() - 1);
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_eq!(most.get(), 3);
    assert_eq!(Instant::now(), Instant::from_millis(4000));
    assert_eq!(semaphore.available(), 3);
}

#[unikernel_rt::test]
async fn a_notification_is_kept_for_the_next_waiter_and_passed_on_by_a_dropped_one() {
    let notify = Rc::new(Notify::new());
    notify.notify_one();
    notify.notified().await;
    let first = spawn({
        let notify = notify.clone();
        async move { notify.notified().await }
    });
    yield_now().await;
    notify.notify_one();
    first.abort();
    timeout(SECOND, notify.notified()).await.expect("the notification of the dropped waiter");
}

#[test]
#[should_panic(expected = "every task waits")]
fn waiting_for_nothing_is_found_out() {
    unikernel_rt::sim::run("", std::future::pending::<()>());
}

#[unikernel_rt::test]
async fn a_supervised_task_panics_alone() {
    let task = spawn_supervised(async {
        sleep(SECOND).await;
        panic!("of this task only");
    });
    assert_eq!(task.await, Some(Err(Panicked)));
    assert_eq!(spawn_supervised(async { 3 }).await, Some(Ok(3)));
}

/// The task of this name, as reports show it.
fn task_named(name: &str) -> Option<TaskInfo> {
    task::tasks().into_iter().find(|task| task.name.to_string() == name)
}

/// Spawns `future` and compares what it waits for after its first poll.
async fn check_waits_for(future: impl Future<Output: 'static> + 'static, expected: &str) {
    let task = spawn_named("waiter", future);
    yield_now().await;
    let info = task_named("waiter").expect("it waits");
    assert_eq!((info.waits_for, info.state, info.polls), (expected, TaskState::Waiting, 1));
    task.abort();
}

#[unikernel_rt::test]
async fn a_task_tells_what_it_waits_for() {
    check_waits_for(sleep(SECOND), "a timer").await;
    check_waits_for(std::future::pending::<()>(), "").await;
    let (sender, mut receiver) = channel::<u8>(1);
    check_waits_for(async move { receiver.receive().await }, "a channel").await;
    assert!(sender.send(1).await.is_err());
    let (sender, receiver) = channel(1);
    sender.send(1).await.expect("there is room");
    check_waits_for(async move { sender.send(2).await }, "room in a channel").await;
    drop(receiver);
    let (sender, receiver) = oneshot::<u8>();
    check_waits_for(receiver, "a value of another task").await;
    drop(sender);
    check_waits_for(spawn(sleep(SECOND)), "another task").await;
    check_waits_for(async { Semaphore::new(0).acquire().await }, "a permit").await;
    check_waits_for(async { Notify::new().notified().await }, "a notification").await;
    check_waits_for(async { Notify::of("rain").notified().await }, "rain").await;
}

#[unikernel_rt::test]
async fn a_time_limit_is_not_what_a_task_waits_for() {
    check_waits_for(async { timeout(SECOND, Notify::of("rain").notified()).await }, "rain").await;
    check_waits_for(timeout(SECOND, std::future::pending::<()>()), "a timer").await;
    check_waits_for(task::waiting_for("the end", sleep(SECOND)), "the end").await;
}

#[unikernel_rt::test]
async fn what_a_task_waited_for_before_is_forgotten() {
    let late = async {
        let _ = timeout(Duration::ZERO, Notify::of("rain").notified()).await;
        std::future::pending::<()>().await
    };
    check_waits_for(late, "").await;
}

#[unikernel_rt::test]
async fn a_task_without_a_name_has_a_place() {
    let line = line!() + 1;
    let task = spawn(sleep(SECOND));
    let info = task_named(&format!("{}:{line}", file!())).expect("it was spawned here");
    assert_eq!((info.state, info.polls, info.waits_for), (TaskState::Ready, 0, ""));
    assert_eq!(task_named("main").map(|main| main.state), Some(TaskState::Running));
    task.await;
    assert_eq!(task::tasks().len(), 1);
}

#[unikernel_rt::test]
async fn each_task_is_on_one_page() {
    let handles: Vec<_> = (0..100).map(|_| spawn_named("many", sleep(Duration::from_secs(1)))).collect();
    handles.iter().step_by(3).for_each(|task| task.abort());
    let (mut ids, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let (page, next) = task::tasks_from(place, 7);
        assert!(page.len() <= 7);
        ids.extend(page.iter().filter(|task| task.name.to_string() == "many").map(|task| task.id));
        from = next;
    }
    assert_eq!(ids.len(), 66);
    assert!(ids.is_sorted_by(|one, next| one < next));
}
