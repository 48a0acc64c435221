//! Random operations give what a `BTreeMap` gives, also through snapshots that are held and stores that are opened again.

use crate::{Model, batch, contents, expect_clean, key, open, seeds, short, value};
use std::ops::Bound;
use unikernel_blockfs::{
    Cause,
    kv::{KvStore, Snapshot},
};
use unikernel_rt::{
    sim::{Behaviour, Random, SimDisk},
    time::Duration,
};

struct Run {
    random: Random,
    keys: usize,
    sim: SimDisk,
    store: KvStore,
    model: Model,
    /// Snapshots that are held, with what they must show.
    held: Vec<(Snapshot, Model)>,
}

impl Run {
    async fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let keys = [5, 50, 400][random.below(3)];
        let sector_len = if seed.is_multiple_of(3) { 4096 } else { 512 };
        let behaviour = Behaviour { delay: Duration::from_micros(10), reorders: true, seed };
        let sim = SimDisk::with((4 << 20) + (random.below(100) as u64) * 4096, sector_len, behaviour);
        if seed % 3 == 1 {
            sim.configure(|info| info.physical_sector_len = 512);
        }
        let store = open(&sim).await;
        Run { random, keys, sim, store, model: Model::new(), held: Vec::new() }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.put().await,
            30..40 => self.delete().await,
            40..60 => {
                let batch = batch(&mut self.random, self.keys, &mut self.model);
                self.store.commit(batch).await.unwrap();
            }
            60..75 => self.get().await,
            75..85 => {
                let (snapshot, model) = (self.store.snapshot(), self.model.clone());
                self.range(&snapshot, &model).await;
            }
            85..88 => self.hold(),
            88..93 => self.look_back().await,
            93..96 => self.transaction().await,
            96..98 => self.store.checkpoint().await.unwrap(),
            98 => self.reopen().await,
            _ => self.held.clear(),
        }
    }

    async fn put(&mut self) {
        let (key, value) = (key(&mut self.random, self.keys), value(&mut self.random));
        self.store.put(&key, &value).await.unwrap();
        self.model.insert(key, value);
    }

    async fn delete(&mut self) {
        let key = key(&mut self.random, self.keys);
        self.store.delete(&key).await.unwrap();
        self.model.remove(&key);
    }

    async fn get(&mut self) {
        let key = key(&mut self.random, self.keys);
        assert_eq!(short(&self.store.get(&key).await.unwrap()), self.model.get(&key).cloned());
    }

    fn bound(&mut self) -> Bound<Vec<u8>> {
        let key = key(&mut self.random, self.keys);
        match self.random.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }

    /// A range from both ends in turns.
    async fn range(&mut self, snapshot: &Snapshot, model: &Model) {
        let (start, end) = (self.bound(), self.bound());
        let bounds = (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]));
        let mut range = snapshot.range(bounds);
        let inside = |key: &Vec<u8>| std::ops::RangeBounds::<Vec<u8>>::contains(&(start.clone(), end.clone()), key);
        let mut expected = model.iter().filter(|(key, _)| inside(key));
        let back_per_mille = [0, 500, 1000][self.random.below(3)];
        loop {
            let (found, expected) = match self.random.chance(back_per_mille) {
                true => (range.next_back().await.unwrap(), expected.next_back()),
                false => (range.next().await.unwrap(), expected.next()),
            };
            let found = found.map(|(key, value)| (key.to_vec(), value.to_vec()));
            assert_eq!(found, expected.map(|(key, value)| (key.clone(), value.clone())));
            if found.is_none() || self.random.chance(5) {
                return;
            }
        }
    }

    fn hold(&mut self) {
        if self.held.len() < 4 {
            self.held.push((self.store.snapshot(), self.model.clone()));
        }
    }

    async fn look_back(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let number = self.random.below(self.held.len());
        let (snapshot, model) = self.held.swap_remove(number);
        assert_eq!(contents(&snapshot).await.unwrap(), model);
        self.range(&snapshot, &model).await;
        let key = key(&mut self.random, self.keys);
        assert_eq!(short(&snapshot.get(&key).await.unwrap()), model.get(&key).cloned());
        if self.random.chance(500) {
            self.held.push((snapshot, model));
        }
    }

    /// Moves a value from one key to another, or fails half-way.
    async fn transaction(&mut self) {
        let (from, to) = (key(&mut self.random, self.keys), key(&mut self.random, self.keys));
        let fails = self.random.chance(300);
        let result = self.store.transaction(async |tx| {
            let value = tx.get(&from).await?;
            tx.delete(&from)?;
            if let Some(value) = &value {
                tx.put(&to, value)?;
            }
            assert_eq!(tx.get(&to).await?.is_some(), value.is_some() || (from != to && self.model.contains_key(&to)));
            if fails { Err(tx.put(&[0; 2000], b"").unwrap_err()) } else { Ok(()) }
        });
        assert_eq!(result.await.is_err(), fails);
        if !fails && let Some(value) = self.model.remove(&from) {
            self.model.insert(to, value);
        }
    }

    async fn reopen(&mut self) {
        self.held.clear();
        let store = self.store.clone();
        store.close().await.unwrap();
        assert_eq!(*self.store.put(b"late", b"").await.unwrap_err().cause(), Cause::Closed);
        expect_clean(&self.sim, "after closing").await;
        self.store = open(&self.sim).await;
    }
}

#[unikernel_rt::test]
async fn a_store_is_a_sorted_map() {
    for seed in seeds(60) {
        let mut run = Run::new(seed).await;
        for _ in 0..400 {
            run.step().await;
        }
        assert_eq!(contents(&run.store.snapshot()).await.unwrap(), run.model, "seed {seed}");
        run.reopen().await;
        assert_eq!(contents(&run.store.snapshot()).await.unwrap(), run.model, "seed {seed}, opened again");
    }
}
