//! Minutes of load of every kind at once, with every answer checked: polite clients, clients that
//! give up, garbage, clients that are slow in either direction. Afterwards the guest must have
//! given back all memory it took for them.

mod clients;
mod garbage;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::{FILE_LENS, HELLO_LEN};
use crate::chance::Random;
use crate::client::{Trouble, get};
use crate::heap::Heap;
use crate::{Result, error};
use clients::KINDS;

/// What came out.
pub struct Findings {
    /// Complete and right answers.
    pub answers: u64,
    /// Answers that were wrong, with the first few of them.
    pub wrong: u64,
    /// Times that a client had to wait beyond its patience.
    pub stalls: u64,
    /// Descriptions of the first wrong answers and stalls.
    pub troubles: Vec<String>,
    /// The longest time a probe had to wait.
    pub slowest: Duration,
    /// Heap in use around it, if the guest tells.
    pub heap: Option<Heap>,
}

/// What the clients share.
pub struct Site {
    address: SocketAddr,
    /// Path and body of everything served.
    pages: Vec<(&'static str, Vec<u8>)>,
    tally: Mutex<Tally>,
    end: Instant,
}

#[derive(Default)]
struct Tally {
    answers: u64,
    wrong: u64,
    stalls: u64,
    troubles: Vec<String>,
    slowest: Duration,
}

/// Before heap is compared, a load of this length fills what the guest keeps for good: its pools of buffers are as
/// large as the most that was ever in use at a time.
const FIRST_ROUND: Duration = Duration::from_secs(60);
/// Troubles that are described one by one.
const TROUBLES_MAX: usize = 10;

/// Loads the guest for that long.
pub fn run(address: SocketAddr, duration: Duration) -> Result<Findings> {
    let pages = fetch_pages(address)?;
    let load = |duration| round(Site::new(address, pages.clone(), duration));
    let first = || {
        load(FIRST_ROUND.min(duration));
        Ok(())
    };
    let (tally, heap) = Heap::around(address, first, || Ok(load(duration)))?;
    Ok(Findings {
        answers: tally.answers,
        wrong: tally.wrong,
        stalls: tally.stalls,
        troubles: tally.troubles,
        slowest: tally.slowest,
        heap,
    })
}

/// All clients at work until the site's end.
fn round(site: Site) -> Tally {
    thread::scope(|scope| {
        let mut seed = 0;
        for kind in KINDS {
            for _ in 0..kind.clients {
                seed += 1;
                let site = &site;
                scope.spawn(move || site.keep_busy(kind, seed));
            }
        }
    });
    site.tally.into_inner().unwrap_or_default()
}

/// What is served, once read at leisure. Later answers must be the same, byte for byte.
fn fetch_pages(address: SocketAddr) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let lens = [HELLO_LEN, FILE_LENS[0], FILE_LENS[1], FILE_LENS[2]];
    let paths = ["/hello", "/", "/100k.bin", "/10m.bin"];
    let mut pages = Vec::new();
    for (path, len) in paths.into_iter().zip(lens) {
        let body = get(address, path).map_err(|trouble| error(format!("{path}: {trouble}")))?;
        if body.len() != len {
            return Err(error(format!("{path} has {} bytes instead of {len}", body.len())));
        }
        pages.push((path, body));
    }
    Ok(pages)
}

impl Site {
    fn new(address: SocketAddr, pages: Vec<(&'static str, Vec<u8>)>, duration: Duration) -> Site {
        let end = Instant::now() + duration;
        Site { address, pages, tally: Mutex::default(), end }
    }

    /// One client after the other until the end.
    fn keep_busy(&self, kind: &clients::Kind, seed: u64) {
        let mut random = Random::new(seed);
        while !self.is_over() {
            let start = Instant::now();
            let met = (kind.run)(self, &mut random);
            self.note(kind, met.err(), start);
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn note(&self, kind: &clients::Kind, met: Option<Trouble>, start: Instant) {
        let Ok(mut tally) = self.tally.lock() else { return };
        if kind.is_probe {
            tally.slowest = tally.slowest.max(start.elapsed());
        }
        let Some(trouble) = met else { return };
        match trouble {
            Trouble::Stalled(_) => tally.stalls += 1,
            Trouble::Wrong(_) | Trouble::Closed(_) => tally.wrong += 1,
        }
        if tally.troubles.len() < TROUBLES_MAX {
            tally.troubles.push(format!("{}: {trouble}", kind.name));
        }
    }

    fn right_answer(&self) {
        if let Ok(mut tally) = self.tally.lock() {
            tally.answers += 1;
        }
    }

    /// Path and body of one of the pages.
    fn page(&self, random: &mut Random) -> &(&'static str, Vec<u8>) {
        // Mostly small ones: the largest takes a thousand times as long.
        let index = match random.below(100) {
            0..50 => 0,
            50..80 => 1,
            80..98 => 2,
            _ => 3,
        };
        &self.pages[index]
    }
}
