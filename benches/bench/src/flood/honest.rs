//! The honest client: requests at fixed times, on a connection that is kept and on new ones.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::HELLO_LEN;
use crate::client::{self, Trouble};
use crate::{Result, error};

/// Requests a second, of each kind.
const PER_SECOND: u32 = 100;
/// New connections that may be waiting at a time, so that one that waits for a repeated SYN (1 s) does not delay others.
const WAITING_MAX: usize = 64;

/// What an honest client met.
#[derive(Default, Debug)]
pub struct Honest {
    /// On its kept connection.
    pub keep: Times,
    /// With a connection for each request.
    pub new: Times,
}

/// How long requests took.
#[derive(Default, Debug)]
pub struct Times {
    taken: Vec<Duration>,
    /// Requests that got no right answer.
    pub failures: u64,
    /// What the first of them met.
    pub trouble: Option<String>,
}

impl Times {
    /// The time within which so many of a hundred requests were answered, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut taken = self.taken.clone();
        taken.sort();
        let last = taken.len().saturating_sub(1);
        taken.get(taken.len() * percent / 100).or(taken.get(last)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn note(&mut self, due: Instant, met: std::result::Result<(), Trouble>) {
        match met {
            Ok(()) => self.taken.push(due.elapsed()),
            Err(trouble) => {
                self.failures += 1;
                self.trouble.get_or_insert(trouble.to_string());
            }
        }
    }
}

/// A client with the connection it keeps.
pub struct Client {
    address: SocketAddr,
    kept: client::Client,
}

impl Client {
    /// Connects, and asks once.
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let connect = || {
            let mut kept = client::Client::connect(address)?;
            ask(&mut kept, "")?;
            Ok(Client { address, kept })
        };
        connect().map_err(|trouble: Trouble| error(format!("the honest client before the flood: {trouble}")))
    }

    /// Where its connection comes from.
    pub fn local(&self) -> Result<SocketAddrV4> {
        match self.kept.stream.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(address) => Err(error(format!("the honest client comes from {address}"))),
        }
    }

    /// Asks in both ways, for so long from `begin` on.
    pub fn ask_for(self, begin: Instant, duration: Duration) -> Honest {
        let count = (f64::from(PER_SECOND) * duration.as_secs_f64()) as u32;
        let address = self.address;
        thread::scope(|scope| {
            let new = scope.spawn(move || ask_on_new_ones(address, begin, count));
            let keep = self.ask_on_the_kept_one(begin, count);
            Honest { keep, new: new.join().unwrap_or_default() }
        })
    }

    fn ask_on_the_kept_one(mut self, begin: Instant, count: u32) -> Times {
        let mut times = Times::default();
        for index in 0..count {
            let due = wait_until_due(begin, index);
            let met = ask(&mut self.kept, "");
            let failed = met.is_err();
            times.note(due, met);
            if failed && let Ok(kept) = client::Client::connect(self.address) {
                self.kept = kept;
            }
        }
        times
    }
}

fn ask_on_new_ones(address: SocketAddr, begin: Instant, count: u32) -> Times {
    let (next, times) = (AtomicU32::new(0), Mutex::new(Times::default()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count {
                return;
            }
            let due = wait_until_due(begin, index);
            let met = client::Client::connect(address).and_then(|mut client| ask(&mut client, "Connection: close\r\n"));
            if let Ok(mut times) = times.lock() {
                times.note(due, met);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WAITING_MAX {
            scope.spawn(work);
        }
    });
    times.into_inner().unwrap_or_default()
}

/// Request `index` is due when its turn comes, however late those before it were.
fn wait_until_due(begin: Instant, index: u32) -> Instant {
    let due = begin + Duration::from_secs(1) * index / PER_SECOND;
    thread::sleep(due.saturating_duration_since(Instant::now()));
    due
}

fn ask(client: &mut client::Client, headers: &str) -> std::result::Result<(), Trouble> {
    client.ask("/hello", headers)?;
    match client.expect_ok()?.len() {
        HELLO_LEN => Ok(()),
        other => Err(Trouble::Wrong(format!("a body of {other} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(millis: &[u64], percent: usize, want: f64) {
        let taken = millis.iter().copied().map(Duration::from_millis).collect();
        assert_eq!(Times { taken, ..Times::default() }.percentile(percent), want);
    }

    #[test]
    fn half() {
        check(&[30, 10, 20], 50, 20.0);
    }

    #[test]
    fn all_but_the_slowest() {
        let millis: Vec<u64> = (1..=100).collect();
        check(&millis, 99, 100.0);
    }

    #[test]
    fn one() {
        check(&[7], 99, 7.0);
    }

    #[test]
    fn none() {
        assert!(Times::default().percentile(50).is_nan());
    }
}
