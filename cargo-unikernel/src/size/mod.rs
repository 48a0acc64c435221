//! `cargo unikernel size`: which crate takes how much of an image.
//!
//! Code counts for the crate whose source it comes from, wherever it was inlined: after link-time optimisation whole crates are
//! inlined into one function, and the name of that says nothing. Data counts for the crate that its symbol names; constants have no
//! symbols.

mod owner;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use addr2line::Loader;
use anyhow::{Context, Result, bail};
use object::{File, Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionFlags, SectionKind, elf::SHF_ALLOC};
use serde::Serialize;

use crate::{
    build::{self, Selection},
    fs::{print, unless_unheard},
    image,
};
use owner::Owners;

/// What to look at.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// A finished image, instead of building one.
    #[arg(long, value_name = "ELF", conflicts_with_all = ["package", "release", "features"])]
    image: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What an image is made of, in bytes.
#[derive(Debug, Serialize)]
struct Sizes {
    image: PathBuf,
    /// What reaches the machine; debug information and log strings stay in the file.
    loaded: u64,
    /// What the image takes in memory, with what is zero at the start.
    memory: u64,
    /// The largest first.
    crates: Vec<Share>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Share {
    name: String,
    code: u64,
    data: u64,
}

/// Builds the image if there is none, and prints its parts.
pub fn exec(arguments: Arguments) -> Result<u8> {
    let image = match arguments.image {
        Some(image) => image,
        None => build::the_image(&arguments.selection)?,
    };
    let elf = image::read(&image)?;
    let sizes = Sizes::of(image, &elf)?;
    let text = if arguments.json { serde_json::to_string_pretty(&sizes)? } else { sizes.table() };
    unless_unheard(print(&text).map(|()| 0).map_err(Into::into))
}

impl Sizes {
    fn of(image: PathBuf, elf: &[u8]) -> Result<Sizes> {
        let file = File::parse(elf).context("the image is no ELF file")?;
        let mut shares = Shares::default();
        shares.add_code(&file, &image)?;
        shares.add_data(&file);
        let loaded = file.segments().map(|segment| segment.file_range().1).sum();
        shares.add_rest(loaded);
        let memory = file.segments().map(|segment| segment.size()).sum();
        Ok(Sizes { image, loaded, memory, crates: shares.sorted() })
    }

    fn table(&self) -> String {
        let in_kib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0);
        let percent = |share: &Share| 100.0 * (share.code + share.data) as f64 / self.loaded.max(1) as f64;
        let row = |share: &Share| {
            let (code, data) = (in_kib(share.code), in_kib(share.data));
            format!("{code:>8} {data:>8} {:>5.1} %  {}\n", percent(share), share.name)
        };
        let rows: String = self.crates.iter().map(row).collect();
        let (name, loaded) = (self.image.display(), in_kib(self.loaded));
        let memory = in_kib(self.memory);
        format!("{name}: {loaded} KiB loaded, {memory} KiB in memory\n\ncode KiB data KiB          crate\n{rows}")
            .trim_end()
            .into()
    }
}

/// Code and data by crate.
#[derive(Default)]
struct Shares(BTreeMap<String, (u64, u64)>);

/// Code that no line table covers: assembly, and what the compiler made by itself.
const WITHOUT_LINES: &str = "(no source)";
/// Texts, tables and numbers in code.
const CONSTANTS: &str = "(constants)";
/// Headers, relocations, and what is between sections.
const REST: &str = "(headers, relocations, gaps)";

impl Shares {
    fn add_code(&mut self, file: &File<'_>, image: &Path) -> Result<()> {
        let loader = Loader::new(image).ok().context("the image's debug information is damaged")?;
        let owners = Owners::new(image);
        let mut covered = 0;
        let mut code = 0;
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let end = section.address() + section.size();
            code += section.size();
            let rows = loader.find_location_range(section.address(), end).ok();
            let rows =
                rows.into_iter().flatten().filter_map(|(start, len, location)| Some((start, len, location.file?)));
            // By unit, whose functions lie between those of others.
            let mut rows: Vec<(u64, u64, &str)> = rows.collect();
            rows.sort_unstable();
            let mut at = section.address();
            for (start, len, path) in rows {
                // Functions that became one have the rows of each; a byte counts once.
                let (from, to) = (start.max(at), start.saturating_add(len).min(end));
                if from < to {
                    self.0.entry(owners.of(path)).or_default().0 += to - from;
                    covered += to - from;
                    at = to;
                }
            }
        }
        if covered == 0 {
            bail!("the image has no line tables; build it with `debug = \"line-tables-only\"` or more in its profile");
        }
        self.0.entry(WITHOUT_LINES.into()).or_default().0 += code - covered;
        Ok(())
    }

    fn add_data(&mut self, file: &File<'_>) {
        let is_loaded = |section: &object::Section<'_, '_>| match section.flags() {
            SectionFlags::Elf { sh_flags, .. } => sh_flags.0 & SHF_ALLOC.0 != 0,
            _ => false,
        };
        let is_data =
            |kind| matches!(kind, SectionKind::Data | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString);
        for section in file.sections().filter(|section| is_data(section.kind()) && is_loaded(section)) {
            let (start, end) = (section.address(), section.address() + section.size());
            let mut symbols: Vec<_> =
                file.symbols().filter(|symbol| (start..end).contains(&symbol.address()) && symbol.size() > 0).collect();
            symbols.sort_by_key(|symbol| symbol.address());
            let (mut at, mut named) = (start, 0);
            for symbol in symbols {
                let (from, to) = (symbol.address().max(at), (symbol.address() + symbol.size()).min(end));
                if let Some(owner) = symbol.name().ok().and_then(owner::of_symbol).filter(|_| from < to) {
                    self.0.entry(owner).or_default().1 += to - from;
                    (at, named) = (to, named + to - from);
                }
            }
            self.0.entry(CONSTANTS.into()).or_default().1 += section.size() - named;
        }
    }

    fn add_rest(&mut self, loaded: u64) {
        let known: u64 = self.0.values().map(|(code, data)| code + data).sum();
        self.0.entry(REST.into()).or_default().1 += loaded.saturating_sub(known);
    }

    fn sorted(self) -> Vec<Share> {
        let shares = self.0.into_iter().map(|(name, (code, data))| Share { name, code, data });
        let mut shares: Vec<_> = shares.filter(|share| share.code + share.data > 0).collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.code + share.data));
        shares
    }
}
