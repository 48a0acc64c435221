//! Happy eyeballs (RFC 8305): of a host's addresses, the first that answers is used, and a dead one costs a quarter of
//! a second.

use alloc::{boxed::Box, vec::Vec};
use core::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use unikernel_rt::time::{Duration, Instant, Sleep, sleep_until};

/// How long an attempt runs alone before the next address is tried beside it (RFC 8305, 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Why no attempt succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RaceError<E> {
    /// The time is over.
    TimedOut,
    /// Every attempt failed, and this is what tells most.
    Failed(E),
    /// There was no address to try.
    NoAddress,
}

/// The order to try addresses in: IPv6 first, then the families in turn, each in its own order (RFC 8305, 4).
pub(crate) fn order(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut ordered = Vec::with_capacity(v6.len() + v4.len());
    while v6.len() + v4.len() > 0 {
        ordered.extend(v6.next());
        ordered.extend(v4.next());
    }
    ordered
}

/// Tries the addresses one after the other: the next when the last one has failed or [`ATTEMPT_DELAY`] has passed.
/// The first to succeed wins, and the other attempts are dropped; all of them are when this future is dropped or
/// `deadline` comes.
///
/// Of the errors it returns the one that `rank` ranks highest, and of those the first.
pub(crate) async fn race<A, F, T, E>(
    addresses: impl IntoIterator<Item = A>,
    connect: impl FnMut(A) -> F,
    rank: impl Fn(&E) -> u8,
    deadline: Instant,
) -> Result<T, RaceError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let addresses = addresses.into_iter();
    let mut race = Race { addresses, connect, rank, running: Vec::new(), worst: None };
    let mut next = pin!(sleep_until(Instant::now()));
    let mut deadline = pin!(sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(result) = race.poll(next.as_mut(), cx) {
            return Poll::Ready(result);
        }
        deadline.as_mut().poll(cx).map(|()| Err(RaceError::TimedOut))
    })
    .await
}

struct Race<I, C, R, F, E> {
    addresses: I,
    connect: C,
    rank: R,
    running: Vec<Pin<Box<F>>>,
    /// The error that tells most so far.
    worst: Option<E>,
}

impl<A, I, C, R, F, T, E> Race<I, C, R, F, E>
where
    I: Iterator<Item = A>,
    C: FnMut(A) -> F,
    R: Fn(&E) -> u8,
    F: Future<Output = Result<T, E>>,
{
    /// `next` is the moment of the next attempt.
    fn poll(&mut self, mut next: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Result<T, RaceError<E>>> {
        loop {
            let failed = match self.poll_running(cx) {
                Ok(winner) => return Poll::Ready(Ok(winner)),
                Err(failed) => failed,
            };
            if !failed && next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let Some(address) = self.addresses.next() else {
                return self.wait_for_the_rest();
            };
            self.running.push(Box::pin((self.connect)(address)));
            next.as_mut().get_mut().reset(Instant::now() + ATTEMPT_DELAY);
        }
    }

    fn wait_for_the_rest(&mut self) -> Poll<Result<T, RaceError<E>>> {
        if !self.running.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Err(self.worst.take().map_or(RaceError::NoAddress, RaceError::Failed)))
    }

    /// The winner, or whether an attempt failed just now.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Result<T, bool> {
        let (mut index, mut failed) = (0, false);
        while let Some(attempt) = self.running.get_mut(index) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(winner)) => return Ok(winner),
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(index));
                    failed = true;
                    self.note(error);
                }
            }
        }
        Err(failed)
    }

    fn note(&mut self, error: E) {
        if self.worst.as_ref().is_none_or(|worst| (self.rank)(&error) > (self.rank)(worst)) {
            self.worst = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use std::{format, rc::Rc, string::String, vec};
    use unikernel_rt::time::sleep;

    fn check_order(addresses: &str, expected: &str) {
        let parse =
            |text: &str| text.split_whitespace().map(|address| address.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(order(parse(addresses)), parse(expected));
    }

    #[test]
    fn families_take_turns() {
        check_order("", "");
        check_order("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2");
        check_order("10.0.0.1 10.0.0.2 10.0.0.3 fd00::2 fd00::1", "fd00::2 10.0.0.1 fd00::1 10.0.0.2 10.0.0.3");
        check_order("fd00::1 10.0.0.1 fd00::2 fd00::3", "fd00::1 10.0.0.1 fd00::2 fd00::3");
    }

    /// Notes when an attempt ends, however it does.
    struct Attempt {
        address: usize,
        log: Rc<RefCell<Vec<String>>>,
    }

    impl Drop for Attempt {
        fn drop(&mut self) {
            self.log.borrow_mut().push(format!("-{} {}", self.address, Instant::now().as_micros() / 1000));
        }
    }

    /// Races addresses 0, 1, … whose attempts take `plan` milliseconds and succeed, or fail with an error of a rank.
    /// What came out, when, and when each attempt began (`+`) and ended (`-`).
    async fn check(plan: &[(u64, Result<(), u8>)], deadline: u64, expected: &str, steps: &str) {
        let (log, start) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let connect = |address: usize| {
            let (millis, result) = plan[address];
            log.borrow_mut().push(format!("+{address} {}", Instant::now().as_micros() / 1000));
            let attempt = Attempt { address, log: log.clone() };
            async move {
                let attempt = attempt;
                sleep(Duration::from_millis(millis)).await;
                result.map(|()| attempt.address)
            }
        };
        let deadline = start + Duration::from_millis(deadline);
        let result = race(0..plan.len(), connect, |error| *error, deadline).await;
        assert_eq!(format!("{result:?} at {}", start.elapsed().as_millis()), expected);
        assert_eq!(log.borrow().join(", "), steps);
    }

    const OK: Result<(), u8> = Ok(());

    #[unikernel_rt::test]
    async fn the_first_address_answers() {
        check(&[(100, OK), (1, OK)], 9999, "Ok(0) at 100", "+0 0, -0 100").await;
    }

    #[unikernel_rt::test]
    async fn a_slow_one_is_overtaken_and_dropped() {
        let steps = "+0 0, +1 250, -1 350, -0 350";
        check(&[(9000, OK), (100, OK), (1, OK)], 9999, "Ok(1) at 350", steps).await;
    }

    #[unikernel_rt::test]
    async fn a_slow_one_may_still_win() {
        let steps = "+0 0, +1 250, +2 500, -0 600, -1 600, -2 600";
        check(&[(600, OK), (9000, OK), (9000, OK)], 9999, "Ok(0) at 600", steps).await;
    }

    #[unikernel_rt::test]
    async fn after_a_failure_the_next_starts_at_once_and_has_its_time() {
        let steps = "+0 0, -0 10, +1 10, +2 260, -2 270, -1 270";
        check(&[(10, Err(1)), (9000, OK), (10, OK)], 9999, "Ok(2) at 270", steps).await;
    }

    #[unikernel_rt::test]
    async fn a_failure_of_an_earlier_one_starts_the_next_too() {
        let steps = "+0 0, +1 250, -0 300, +2 300, -2 310, -1 310";
        check(&[(300, Err(1)), (9000, OK), (10, OK)], 9999, "Ok(2) at 310", steps).await;
    }

    #[unikernel_rt::test]
    async fn the_error_that_tells_most_is_returned() {
        let steps = "+0 0, -0 10, +1 10, -1 30, +2 30, -2 40";
        check(&[(10, Err(2)), (20, Err(5)), (10, Err(3))], 9999, "Err(Failed(5)) at 40", steps).await;
        check(&[], 9999, "Err(NoAddress) at 0", "").await;
    }

    #[unikernel_rt::test]
    async fn the_last_failure_ends_it_whoever_fails_last() {
        let steps = "+0 0, +1 250, -1 260, -0 700";
        check(&[(700, Err(1)), (10, Err(1))], 9999, "Err(Failed(1)) at 700", steps).await;
    }

    #[unikernel_rt::test]
    async fn the_deadline_ends_it() {
        let plan = vec![(9000, OK); 3];
        let steps = "+0 0, +1 250, +2 500, -0 1000, -1 1000, -2 1000";
        check(&plan, 1000, "Err(TimedOut) at 1000", steps).await;
        check(&[(10, Err(1)), (9000, OK)], 400, "Err(TimedOut) at 400", "+0 1000, -0 1010, +1 1010, -1 1400").await;
    }
}
