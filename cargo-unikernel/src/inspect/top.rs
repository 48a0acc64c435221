//! `cargo unikernel top`: which tasks use the processor, and how full the heap is.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;
use unikernel_inspect::wire::{Heap, Tasks};

use super::{
    Target,
    lists::tasks,
    sites::Code,
    table::{
        Align::{Left, Right},
        Table, time,
    },
};
use crate::fs::{print, unless_unheard};

/// Clears the terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows which tasks of a machine use its processor, and its heap, again and again.
#[derive(clap::Args)]
pub struct Top {
    #[command(flatten)]
    target: Target,
    /// Prints JSON, a line each time.
    #[arg(long)]
    json: bool,
    /// Seconds between two looks.
    #[arg(short = 'd', long, default_value_t = 2.0, value_parser = seconds)]
    delay: f64,
    /// The machine's image, for the places in the code that allocated; without it, the build here that is the machine's.
    #[arg(long, value_name = "ELF")]
    image: Option<PathBuf>,
    /// Ends after so many; without it, once where the output is no terminal, else never.
    #[arg(short = 'n', long)]
    count: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or("seconds from 0.1 to 3600".into())
}

/// What happened between two looks.
#[derive(Debug, PartialEq, Serialize)]
struct Interval {
    micros: u64,
    /// Those of one name together.
    groups: Vec<Group>,
    heap: Heap,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Group {
    name: String,
    tasks: usize,
    run_time_micros: u64,
    polls: u64,
    /// Of all time, not of the interval.
    longest_poll_micros: u64,
}

impl Top {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        unless_unheard(self.watch())
    }

    fn watch(self) -> Result<u8> {
        let is_terminal = stdout().is_terminal();
        let count = self.count.unwrap_or(if is_terminal { u64::MAX } else { 1 });
        let mut code = Code::new(self.image);
        let mut before = tasks(&mut self.target.open()?)?;
        for _ in 0..count {
            thread::sleep(Duration::from_secs_f64(self.delay));
            // The machine does not keep a silent connection as long as a delay may be.
            let mut client = self.target.open()?;
            let after = tasks(&mut client)?;
            let interval = Interval::between(&before, &after, client.get("/heap")?);
            match self.json {
                true => print(&serde_json::to_string(&interval)?)?,
                false => {
                    let places = code.text(&interval.heap.sites)?;
                    print(&format!("{}{}{places}", if is_terminal { CLEAR } else { "" }, interval.text()))?;
                }
            }
            before = after;
        }
        Ok(0)
    }
}

impl Interval {
    /// A task that was there before counts with what it did since; a number that went to another task, with all of it.
    fn between(before: &Tasks, after: &Tasks, heap: Heap) -> Interval {
        let known: BTreeMap<_, _> = before.tasks.iter().map(|task| (task.id, task)).collect();
        let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
        for task in &after.tasks {
            let old = known.get(&task.id).filter(|old| {
                old.name == task.name && old.polls <= task.polls && old.run_time_micros <= task.run_time_micros
            });
            let group = groups.entry(&task.name).or_default();
            group.name.clone_from(&task.name);
            group.tasks += 1;
            group.run_time_micros += task.run_time_micros - old.map_or(0, |old| old.run_time_micros);
            group.polls += task.polls - old.map_or(0, |old| old.polls);
            group.longest_poll_micros = group.longest_poll_micros.max(task.longest_poll_micros);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.run_time_micros));
        Interval { micros: after.now_micros.saturating_sub(before.now_micros).max(1), groups, heap }
    }

    fn text(&self) -> String {
        let share = |micros: u64| format!("{:.1}", micros as f64 * 100.0 / self.micros as f64);
        let all = self.groups.iter().map(|group| group.run_time_micros).sum();
        let Heap { in_use, peak, total, .. } = self.heap;
        let kib = |len: usize| len / 1024;
        let mut table =
            Table::new(&[("CPU%", Right), ("POLLS/S", Right), ("LONGEST", Right), ("TASKS", Right), ("NAME", Left)]);
        for group in &self.groups {
            table.push([
                share(group.run_time_micros),
                format!("{:.0}", group.polls as f64 * 1e6 / self.micros as f64),
                time(group.longest_poll_micros),
                group.tasks.to_string(),
                group.name.clone(),
            ]);
        }
        format!(
            "processor {}% by tasks that live · heap {} KiB of {} KiB, at most {} KiB\n\n{}{}",
            share(all),
            kib(in_use),
            kib(total),
            kib(peak),
            table.text().trim_end(),
            heap_text(&self.heap)
        )
    }
}

/// Sizes shown: those that hold the most.
const SIZES_SHOWN: usize = 10;

fn heap_text(heap: &Heap) -> String {
    let mut classes: Vec<_> = heap.classes.iter().collect();
    if classes.is_empty() {
        return String::new();
    }
    classes.sort_by_key(|class| std::cmp::Reverse(class.held));
    let mut table = Table::new(&[("KIB", Right), ("BLOCKS", Right), ("OF UP TO", Right)]);
    for class in classes.into_iter().take(SIZES_SHOWN) {
        let size = class.block_len_max.map_or("any size".into(), |len| format!("{len} bytes"));
        table.push([(class.held / 1024).to_string(), class.blocks.to_string(), size]);
    }
    format!("\n\n{}", table.text().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use unikernel_inspect::wire::{HeapClass, HeapSites, Task};

    /// Tasks as `id name polls run_time`.
    fn look(now_micros: u64, tasks: &[(usize, &str, u64, u64)]) -> Tasks {
        let task = |&(id, name, polls, run_time_micros): &(usize, &str, u64, u64)| Task {
            id,
            name: name.into(),
            polls,
            run_time_micros,
            longest_poll_micros: 7,
            ..Task::default()
        };
        Tasks { now_micros, tasks: tasks.iter().map(task).collect(), next: None }
    }

    #[test]
    fn time_is_shared_out_by_name() {
        let before = look(1_000_000, &[(1, "network", 10, 500), (2, "http", 5, 900), (3, "gone", 1, 1)]);
        let after = look(3_000_000, &[(1, "network", 110, 1_000_500), (2, "http", 2, 30), (4, "http", 1, 10)]);
        let class = |block_len_max, blocks, held| HeapClass { block_len_max, blocks, held };
        let classes = vec![class(Some(64), 20, 2048), class(None, 1, 8192)];
        let heap = Heap { in_use: 2048, peak: 4096, total: 1 << 20, classes, sites: HeapSites::default() };
        let interval = Interval::between(&before, &after, heap);
        assert_eq!(interval.groups[0].run_time_micros, 1_000_000);
        assert_eq!(
            (interval.groups[1].tasks, interval.groups[1].run_time_micros, interval.groups[1].polls),
            (2, 40, 3)
        );
        let expected = "processor 50.0% by tasks that live · heap 2 KiB of 1024 KiB, at most 4 KiB\n\n\
                        CPU%  POLLS/S  LONGEST  TASKS  NAME\n\
                        50.0       50     7 us      1  network\n \
                         0.0        2     7 us      2  http\n\n\
                        KIB  BLOCKS  OF UP TO\n  \
                          8       1  any size\n  \
                          2      20  64 bytes";
        assert_eq!(interval.text(), expected);
    }
}
