//! Power is lost at every write and every flush of some work, and the disk keeps any part of what was not flushed. The
//! volume then mounts, is in order, and holds what was acknowledged, or that and the operation that was under way.

mod common;

use common::{Tree, Work, difference, tree_of};
use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::sim::{Recording, SimDisk, Survivors};

const OPERATIONS: usize = 100;
/// Every so many cuts the work goes on after the loss of power.
const GO_ON: usize = 11;

/// Does the work of a seed. Returns what was written, and after how many events the volume held what.
async fn record(format: Format, len: u64, seed: u64) -> (Recording, Vec<(usize, Tree)>) {
    let sim = SimDisk::new(len);
    drop(Volume::format(Disk::new(sim.device()), format).await.unwrap());
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    sim.record();
    let mut states = vec![(0, Tree::new())];
    let mut work = Work::new(seed);
    for _ in 0..OPERATIONS {
        work.operate(&volume, &mut |tree| states.push((sim.recorded(), tree.clone()))).await;
    }
    (sim.end_recording(), states)
}

/// What is wrong with the volume after a cut; nothing, if it holds one of two states, whose number is the result.
async fn look(sim: &SimDisk, states: &[(usize, Tree)], cut: usize) -> Result<usize, String> {
    let last = states.iter().rposition(|(events, _)| *events <= cut).unwrap_or(0);
    let volume = Volume::mount(Disk::new(sim.device())).await.map_err(|error| error.to_string())?;
    let report = volume.check().await;
    if !report.is_clean() {
        return Err(format!("{report:?}"));
    }
    let found = tree_of(&volume).await;
    let allowed = last..=(last + 1).min(states.len() - 1);
    let hit = allowed.clone().find(|number| states[*number].1 == found);
    let say = |number: usize| difference(&found, &states[number].1).unwrap_or_default();
    hit.ok_or_else(|| allowed.map(say).collect::<Vec<_>>().join(", and "))
}

/// After a cut the volume can be used like any other.
async fn go_on(sim: &SimDisk, seed: u64) {
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    let mut work = Work::on(tree_of(&volume).await, seed);
    for _ in 0..10 {
        work.operate(&volume, &mut |_| {}).await;
    }
    drop(volume);
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    assert_eq!(difference(&tree_of(&volume).await, &work.tree), None);
}

async fn cut_everywhere(format: Format, len: u64, seeds: std::ops::Range<u64>) {
    let (mut tried, mut seen) = (0, std::collections::BTreeSet::new());
    for seed in seeds {
        let (recording, states) = record(format, len, seed).await;
        for cut in 0..=recording.len() {
            let chance = seed * 1_000_000 + cut as u64;
            for survivors in [Survivors::None, Survivors::All, Survivors::Some(chance), Survivors::Torn(chance)] {
                let sim = recording.cut(cut, survivors);
                match look(&sim, &states, cut).await {
                    Ok(number) => seen.insert((seed, number)),
                    Err(problem) => panic!("seed {seed}, cut {cut} of {}, {survivors:?}: {problem}", recording.len()),
                };
                tried += 1;
                if tried % GO_ON == 0 {
                    go_on(&sim, chance).await;
                }
            }
        }
    }
    println!("power cuts: {tried} tried, {} states seen, 0 losses", seen.len());
}

#[cfg(feature = "littlefs")]
#[unikernel_rt::test]
async fn littlefs() {
    cut_everywhere(Format::Littlefs, 8 << 20, common::seeds(1)).await;
}

/// The same work on a disk that does not flush when it is asked to: there the cuts must find losses, or they find nothing.
#[cfg(feature = "littlefs")]
#[unikernel_rt::test]
async fn littlefs_without_flushes_loses_data() {
    let sim = SimDisk::new(8 << 20);
    drop(Volume::format(Disk::new(sim.device()), Format::Littlefs).await.unwrap());
    sim.configure(|info| info.has_volatile_cache = false);
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    sim.record();
    let mut states = vec![(0, Tree::new())];
    let mut work = Work::new(0);
    for _ in 0..OPERATIONS {
        work.operate(&volume, &mut |tree| states.push((sim.recorded(), tree.clone()))).await;
    }
    let recording = sim.end_recording();
    let mut losses = 0;
    for cut in (0..=recording.len()).step_by(7) {
        let sim = recording.cut(cut, Survivors::Some(cut as u64));
        losses += usize::from(look(&sim, &states, cut).await.is_err());
    }
    assert!(losses > 20, "only {losses} losses were seen");
}
