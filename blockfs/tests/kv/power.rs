//! A loss of power at every moment: what was acknowledged is there, what was under way is there or not, as a whole.

use crate::{Model, batch, contents, disk_of, expect_clean, open, seeds};
use std::{cell::RefCell, rc::Rc};
use unikernel_blockfs::{
    Cause,
    kv::{Batch, KvStore, check},
};
use unikernel_rt::{
    future::join_all,
    sim::{Behaviour, Random, Recording, SimDisk, Survivors},
    spawn,
    time::Duration,
};

/// A workload that was recorded: its states, and after how many events each was acknowledged.
struct Story {
    recording: Recording,
    states: Vec<(usize, Model)>,
}

impl Story {
    /// Commits one after the other, with checkpoints by hand and by themselves.
    async fn record(sim: &SimDisk, seed: u64, commits: usize, mut model: Model) -> Story {
        let mut random = Random::new(seed);
        sim.record();
        let store = open(sim).await;
        let mut states = vec![(0, model.clone())];
        for _ in 0..commits {
            let mut next = model.clone();
            let batch = batch(&mut random, 40, &mut next);
            match store.commit(batch).await {
                Ok(()) => {
                    model = next;
                    states.push((sim.recorded(), model.clone()));
                }
                Err(error) => assert_eq!(*error.cause(), Cause::Full),
            }
            if random.chance(60) {
                store.checkpoint().await.unwrap();
            }
        }
        store.close().await.unwrap();
        Story { recording: sim.end_recording(), states }
    }

    /// The states that may be found after `count` events: the last that was acknowledged, and the one after it.
    fn possible(&self, count: usize) -> &[(usize, Model)] {
        let next = self.states.partition_point(|(events, _)| *events <= count).max(1);
        &self.states[next - 1..self.states.len().min(next + 1)]
    }

    /// Opens what is left after a cut. Returns the disk, and what is in it.
    async fn cut(&self, count: usize, survivors: Survivors) -> (SimDisk, Model) {
        let what = format!("cut after {count}, {survivors:?}");
        let sim = self.recording.cut(count, survivors);
        let was_blank = matches!(check(disk_of(&sim)).await, Err(error) if *error.cause() == Cause::Blank);
        if !was_blank {
            expect_clean(&sim, &what).await;
        }
        let before = sim.counts().writes;
        let store = KvStore::open_or_create(disk_of(&sim)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(was_blank || sim.counts().writes == before, "{what}: opening wrote");
        let found = contents(&store.snapshot()).await.unwrap();
        let possible = self.possible(count);
        assert!(possible.iter().any(|(_, state)| *state == found), "{what}: found {} entries", found.len());
        (sim, found)
    }
}

fn survivors(seed: u64) -> [Survivors; 6] {
    let (some, torn) = (Survivors::Some, Survivors::Torn);
    [Survivors::None, Survivors::All, some(seed), some(seed + 1), torn(seed), torn(seed + 1)]
}

fn small_disk() -> SimDisk {
    let sim = SimDisk::new(512 << 10);
    sim.configure(|info| info.physical_sector_len = 512);
    sim
}

#[unikernel_rt::test]
async fn every_cut_leaves_whole_transactions() {
    for seed in seeds(1) {
        let sim = small_disk();
        let story = Story::record(&sim, seed, 60, Model::new()).await;
        for count in 0..=story.recording.len() {
            for survivors in survivors(seed * 10_000 + count as u64) {
                story.cut(count, survivors).await;
            }
        }
    }
}

/// The same where space is so short that checkpoints are made in parts, and some commits find none.
#[unikernel_rt::test]
async fn cuts_on_a_full_disk() {
    for seed in seeds(1) {
        let sim = SimDisk::new(256 << 10);
        sim.configure(|info| info.physical_sector_len = 512);
        let story = Story::record(&sim, seed, 80, Model::new()).await;
        for count in 0..=story.recording.len() {
            for survivors in &survivors(seed * 10_000 + count as u64)[1..3] {
                story.cut(count, *survivors).await;
            }
        }
    }
}

/// Many writers at once, while checkpoints are made, on a disk that takes its time: of each writer, the last value that
/// was acknowledged is there, or the next one, and both halves of a batch agree.
#[unikernel_rt::test]
async fn cuts_under_many_writers() {
    for seed in seeds(1) {
        let behaviour = Behaviour { delay: Duration::from_micros(100), reorders: true, seed };
        let sim = SimDisk::with(512 << 10, 512, behaviour);
        sim.configure(|info| info.physical_sector_len = 512);
        let store = open(&sim).await;
        sim.record();
        // After how many events which writer was told of which value.
        let told = Rc::new(RefCell::new(vec![]));
        let writers = (0..8u8).map(|writer| {
            let (store, sim, told) = (store.clone(), sim.clone(), told.clone());
            spawn(async move {
                let mut random = Random::new(seed * 8 + u64::from(writer));
                for number in 1..30u8 {
                    let mut batch = Batch::new();
                    batch.put(&[writer, 0], &vec![number; 1 + random.below(3000)]).unwrap();
                    batch.put(&[writer, 1], &vec![number; 1 + random.below(300)]).unwrap();
                    store.commit(batch).await.unwrap();
                    told.borrow_mut().push((sim.recorded(), writer, number));
                }
            })
        });
        join_all(writers.collect::<Vec<_>>()).await;
        assert!(store.stats().checkpoints > 0);
        store.close().await.unwrap();
        let recording = sim.end_recording();
        for count in 0..=recording.len() {
            for survivors in &survivors(seed + count as u64)[1..5] {
                let sim = recording.cut(count, *survivors);
                expect_clean(&sim, &format!("cut after {count}, {survivors:?}")).await;
                let store = open(&sim).await;
                for writer in 0..8u8 {
                    let first = async |half| store.get(&[writer, half]).await.unwrap().map_or(0, |value| value[0]);
                    let (found, other) = (first(0).await, first(1).await);
                    let known =
                        told.borrow().iter().filter(|(at, who, _)| *at <= count && *who == writer).count() as u8;
                    assert!(
                        found == other && (known..=known + 1).contains(&found),
                        "{count} {survivors:?}: {found} {other} {known}"
                    );
                }
            }
        }
    }
}

/// After a cut the store is used again, and cut again, at every moment of that.
#[unikernel_rt::test]
async fn cuts_after_cuts() {
    for seed in seeds(1) {
        let sim = small_disk();
        let story = Story::record(&sim, seed, 25, Model::new()).await;
        let mut random = Random::new(seed);
        for count in 0..=story.recording.len() {
            let (sim, model) = story.cut(count, survivors(seed + count as u64)[random.below(6)]).await;
            let second = Story::record(&sim, seed + 1000, 6, model).await;
            for count in 0..=second.recording.len() {
                let number = random.below(6);
                second.cut(count, survivors(random.u64())[number]).await;
            }
        }
    }
}
