//! Where a guest's instructions go, function by function.
//!
//! The plugin counts how often each block of code is executed and which instructions it has. From
//! that follows the count of each instruction, which the image's symbols and line tables name.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::thread;
use std::time::Duration;

use addr2line::Loader;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::layout::{
    ADDRESSES_AT, BLOCK_EXECUTIONS, BLOCK_FIRST, BLOCK_LEN, BLOCK_WORDS, BLOCKS_AT, BLOCKS_LOST, BLOCKS_USED,
};
use crate::load::{self, Load, Span};
use crate::measure::load_address;
use crate::vm::{Guest, Vm};
use crate::{Result, error};

/// What the instructions are summed up by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum By {
    /// By function of the image, with all that was inlined into it.
    Function,
    /// By function of the source, wherever it was inlined; the standard library's count for their callers.
    Inlined,
    /// By source line, in the same way.
    Line,
    /// By source file, in the same way.
    File,
    /// By the folder that has the source, in the same way.
    Crate,
}

/// Two states of the plugin's file, and how many times that happened between them which is asked about.
pub struct Recording {
    before: Vec<u64>,
    after: Vec<u64>,
    /// How many requests, boots or seconds.
    times: f64,
    /// Which of these it was.
    what: &'static str,
}

impl Recording {
    /// Everything since the machine was started.
    pub fn since_start(vm: &Vm) -> Result<Recording> {
        let after = vm.counter_file()?;
        Ok(Recording { before: vec![0; after.len()], after, times: 1.0, what: "boot" })
    }

    /// What the guest does for each request of a load.
    pub fn of_load(vm: &Vm, guest: &Guest, load: &Load, span: Span) -> Result<Recording> {
        let mut files = Vec::new();
        let outcome = load::run_with(vm, load_address(guest, load), load, span, |_| {
            files.push(vm.counter_file()?);
            Ok(())
        })?;
        let [before, after] = <[Vec<u64>; 2]>::try_from(files).map_err(|_| error("the load left no counts"))?;
        Ok(Recording { before, after, times: outcome.answers as f64, what: "request" })
    }

    /// What the guest does meanwhile, for each of `what`, as often as `work` says that it was.
    pub fn around(vm: &Vm, what: &'static str, work: impl FnOnce() -> Result<f64>) -> Result<Recording> {
        let before = vm.counter_file()?;
        let times = work()?;
        Ok(Recording { before, after: vm.counter_file()?, times, what })
    }

    /// What the guest does while it has nothing to do.
    pub fn of_silence(vm: &Vm, time: Duration) -> Result<Recording> {
        Recording::around(vm, "second", || {
            thread::sleep(time);
            Ok(time.as_secs_f64())
        })
    }

    /// The table of the `top` names.
    pub fn table(&self, guest: &Guest, by: By, top: usize) -> Result<String> {
        let image = Image::read(guest)?;
        let slide = image.slide(&starts(&self.after));
        let names = Names::new(guest, &image, slide, by)?;
        let mut sums: HashMap<String, u64> = HashMap::new();
        let mut all = 0;
        for (address, count) in executed(&self.before, &self.after) {
            *sums.entry(names.of(address)).or_default() += count;
            all += count;
        }
        let mut text = format!("{} instructions/{}", (all as f64 / self.times).round(), self.what);
        if self.after[BLOCKS_LOST] > 0 {
            write!(text, " and {} blocks without room in the profile", self.after[BLOCKS_LOST])?;
        }
        writeln!(text)?;
        self.write_rows(&mut text, sums, all as f64, top)?;
        Ok(text)
    }

    fn write_rows(&self, text: &mut String, sums: HashMap<String, u64>, all: f64, top: usize) -> Result {
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(name, sum), (other_name, other)| other.cmp(sum).then(name.cmp(other_name)));
        writeln!(text, "{:>11} {:>6} {:>6}  name", format!("per {}", self.what), "%", "sum %")?;
        let mut running = 0.0;
        for (name, sum) in sums.iter().take(top) {
            let share = *sum as f64 / all * 100.0;
            running += share;
            writeln!(text, "{:>11.1} {share:>6.2} {running:>6.2}  {name}", *sum as f64 / self.times)?;
        }
        Ok(())
    }
}

/// How often each instruction was executed between two states of the plugin's file.
fn executed(before: &[u64], after: &[u64]) -> HashMap<u64, u64> {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for record in records(after) {
        // A block that is new in the second state was executed zero times in the first.
        let executions = after[record + BLOCK_EXECUTIONS] - before[record + BLOCK_EXECUTIONS];
        if executions > 0 {
            for address in addresses(after, record) {
                *counts.entry(*address).or_default() += executions;
            }
        }
    }
    counts
}

/// The first address of each block, executed or not.
fn starts(file: &[u64]) -> Vec<u64> {
    records(file).filter_map(|record| addresses(file, record).first().copied()).collect()
}

fn records(file: &[u64]) -> impl Iterator<Item = usize> {
    (0..file[BLOCKS_USED] as usize).map(|index| BLOCKS_AT + index * BLOCK_WORDS)
}

fn addresses(file: &[u64], record: usize) -> &[u64] {
    let first = ADDRESSES_AT + file[record + BLOCK_FIRST] as usize;
    &file[first..first + file[record + BLOCK_LEN] as usize]
}

/// The image's functions, by address.
struct Image {
    functions: Vec<(u64, u64, String)>,
}

impl Image {
    fn read(guest: &Guest) -> Result<Image> {
        let content = fs::read(&guest.kernel)?;
        let file = object::File::parse(&*content)?;
        let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let mut functions: Vec<_> = symbols
            .filter_map(|symbol| {
                let name = rustc_demangle::demangle(symbol.name().ok()?);
                Some((symbol.address(), symbol.size(), format!("{name:#}")))
            })
            .collect();
        functions.sort();
        if functions.is_empty() {
            return Err(error(format!("{} has no symbols", guest.kernel.display())));
        }
        Ok(Image { functions })
    }

    /// How far the image runs above its link-time addresses. Blocks often begin where a function
    /// begins, so the distance at which most of them do is the right one.
    fn slide(&self, starts: &[u64]) -> u64 {
        const PAGE: u64 = 4096;
        let mut by_offset: HashMap<u64, Vec<u64>> = HashMap::new();
        for (address, ..) in &self.functions {
            by_offset.entry(address % PAGE).or_default().push(*address);
        }
        let mut votes: HashMap<u64, usize> = HashMap::new();
        for start in starts {
            for function in by_offset.get(&(start % PAGE)).into_iter().flatten() {
                *votes.entry(start.wrapping_sub(*function)).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map_or(0, |(slide, _)| slide)
    }

    /// The function at a link-time address.
    fn function(&self, address: u64) -> Option<&str> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.functions.get(after.checked_sub(1)?)?;
        // Hand-written assembly has symbols without a size: it ends where the next one begins.
        (*size == 0 || address < start + size).then_some(name)
    }
}

/// Turns addresses into the names that are summed up.
struct Names<'image> {
    image: &'image Image,
    lines: Loader,
    slide: u64,
    by: By,
}

impl<'image> Names<'image> {
    fn new(guest: &Guest, image: &'image Image, slide: u64, by: By) -> Result<Self> {
        let lines =
            Loader::new(&guest.kernel).map_err(|cause| error(format!("{}: {cause}", guest.kernel.display())))?;
        Ok(Names { image, lines, slide, by })
    }

    fn of(&self, address: u64) -> String {
        let address = address.wrapping_sub(self.slide);
        let symbol = || self.image.function(address).unwrap_or("(outside the image)").to_owned();
        if self.by == By::Function { symbol() } else { self.in_source(address).unwrap_or_else(symbol) }
    }

    /// The place in the source an instruction comes from. The standard library's small functions are everywhere:
    /// their instructions count for whoever called them.
    fn in_source(&self, address: u64) -> Option<String> {
        let mut frames = self.lines.find_frames(address).ok()?;
        while let Some(frame) = frames.next().ok()? {
            let location = frame.location?;
            let file = location.file?;
            if file.contains("/library/") || file.starts_with("library/") {
                continue;
            }
            let file = within_crate(file);
            return match self.by {
                By::Line => Some(format!("{file}:{}", location.line?)),
                By::File => Some(file.to_owned()),
                By::Crate => Some(file.split('/').next()?.to_owned()),
                By::Function | By::Inlined => Some(format!("{file} {}", frame.function?.demangle().ok()?)),
            };
        }
        None
    }
}

/// A file's path from its crate's folder on.
fn within_crate(path: &str) -> &str {
    let source = path.rfind("/src/").unwrap_or(0);
    let folder = path[..source].rfind('/').map_or(0, |slash| slash + 1);
    &path[folder..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let function = |start, size, name: &str| (start, size, name.to_owned());
        Image { functions: vec![function(0x1010, 16, "a"), function(0x1100, 0, "b")] }
    }

    fn check(address: u64, want: Option<&str>) {
        assert_eq!(image().function(address), want);
    }

    #[test]
    fn before_all() {
        check(0x100f, None);
    }

    #[test]
    fn inside() {
        check(0x101f, Some("a"));
    }

    #[test]
    fn between() {
        check(0x1020, None);
    }

    #[test]
    fn without_a_size() {
        check(0x1fff, Some("b"));
    }

    #[test]
    fn paths_begin_with_the_crate() {
        assert_eq!(within_crate("/home/me/.cargo/x/smoltcp-0.14.0/src/wire/tcp.rs"), "smoltcp-0.14.0/src/wire/tcp.rs");
    }

    #[test]
    fn the_slide_is_what_most_blocks_agree_on() {
        assert_eq!(image().slide(&[0x5010, 0x5100, 0x9100, 0x77]), 0x4000);
    }
}
