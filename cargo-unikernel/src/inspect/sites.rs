//! Which code the heap's blocks were allocated by: addresses of the machine's answer, with the image's line tables.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use unikernel_inspect::wire::HeapSites;

use super::table::{
    Align::{Left, Right},
    Table,
};
use crate::{console, package, symbols::Symbols};

/// Places shown: those that hold the most.
const PLACES_SHOWN: usize = 15;

/// What only passes on somebody's wish for memory, by the beginnings of its paths.
const PASSES_ON: [&str; 6] =
    ["alloc/src/", "core/src/", "std/src/", "hashbrown-", "/rust/deps/hashbrown-", "unikernel-rt/src/platform/"];

/// The image whose addresses they are.
pub(super) struct Code {
    named: Option<PathBuf>,
    found: Option<Result<Known, String>>,
}

struct Known {
    build: String,
    symbols: Symbols,
}

impl Code {
    /// In the image named, or else in one of the builds here.
    pub(super) fn new(image: Option<PathBuf>) -> Code {
        Code { named: image, found: None }
    }

    /// A table of places after an empty line, and what is to be said about it; nothing where the machine does not sample.
    ///
    /// # Errors
    ///
    /// An image was named and is not that of the machine.
    pub(super) fn text(&mut self, sites: &HeapSites) -> Result<String> {
        let named = self.named.as_deref();
        if sites.sites.is_empty() && named.is_none() {
            return Ok(String::new());
        }
        let found = self.found.take().filter(|found| found.as_ref().is_ok_and(|known| known.build == sites.build));
        let found = found.unwrap_or_else(|| open(named, &sites.build).map_err(|problem| format!("{problem:#}")));
        let found = self.found.insert(found);
        match (found, named) {
            (Ok(known), _) => Ok(format!("\n\n{}", table(sites, |address| known.symbols.frames(address)))),
            (Err(problem), Some(_)) => Err(anyhow::Error::msg(problem.clone())),
            // The rest of the view needs no image.
            (Err(problem), None) => Ok(format!("\n\n{}\n({problem})", table(sites, |_| Vec::new()))),
        }
    }
}

fn open(named: Option<&Path>, build: &str) -> Result<Known> {
    let path = named.map_or_else(|| console::builds::of_build(build), |path| Ok(path.to_owned()));
    let path = path.context("places in the code need the machine's image; name it with --image ELF")?;
    let elf = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let own = console::build_id(&elf).unwrap_or_default();
    ensure!(own == build, "{} is build {own}, but the machine is build {build}", path.display());
    let workspace = package::origin_of(&path).ok().and_then(|origin| origin.workspace);
    Ok(Known { build: own, symbols: Symbols::new(&path, &elf, workspace.as_deref()) })
}

/// Sites of one place together.
fn table(sites: &HeapSites, frames: impl Fn(u64) -> Vec<String>) -> String {
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    for site in &sites.sites {
        let place = places.entry(place(&site.frames, &frames)).or_default();
        *place = (place.0 + site.bytes, place.1 + site.samples);
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let mut table = Table::new(&[("KIB", Right), ("SAMPLES", Right), ("ALLOCATED BY", Left)]);
    for (place, (bytes, samples)) in places.into_iter().take(PLACES_SHOWN) {
        table.push([(bytes / 1024).to_string(), samples.to_string(), place]);
    }
    if sites.missed > 0 {
        table.push([(sites.missed / 1024).to_string(), String::new(), "samples without room, of all time".into()]);
    }
    table.text().trim_end().to_owned()
}

/// The innermost function that asked for itself. A return address is that of the next instruction, which may be another line's.
fn place(addresses: &[u64], frames: impl Fn(u64) -> Vec<String>) -> String {
    let mut all = addresses.iter().flat_map(|address| frames(address.saturating_sub(1)));
    let asked = |frame: &String| {
        let path = frame.rsplit_once(" at ").map(|(_, path)| path);
        path.is_some_and(|path| !PASSES_ON.iter().any(|start| path.starts_with(start)))
    };
    let first = addresses.first().map_or("unknown".into(), |address| format!("{address:#x}"));
    all.find(asked).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unikernel_inspect::wire::HeapSite;

    fn sites(missed: usize) -> HeapSites {
        let site = |frames: &[u64], samples, kib: usize| HeapSite { frames: frames.into(), samples, bytes: kib << 10 };
        let sites = vec![site(&[11, 21], 3, 300), site(&[31], 2, 200), site(&[12, 21, 31], 1, 100), site(&[11], 1, 1)];
        HeapSites { build: "0a".into(), interval: 65536, missed, sites }
    }

    fn frames(address: u64) -> Vec<String> {
        let frames: &[&str] = match address {
            10 | 11 => &["__rust_alloc at alloc/src/alloc.rs:1:1", "grow at alloc/src/raw_vec.rs:2:2"],
            20 => &["push at hashbrown-0.17.1/src/raw.rs:1:1", "app::keep at src/main.rs:7:9"],
            30 => &["app::other at src/main.rs:20:1"],
            _ => &[],
        };
        frames.iter().map(|frame| (*frame).to_owned()).collect()
    }

    #[test]
    fn places_are_those_that_asked() {
        let expected = "KIB  SAMPLES  ALLOCATED BY\n\
                        400        4  app::keep at src/main.rs:7:9\n\
                        200        2  app::other at src/main.rs:20:1\n  \
                        1        1  0xb\n  \
                        2           samples without room, of all time";
        assert_eq!(table(&sites(2048), frames), expected);
    }

    #[test]
    fn without_an_image_addresses_are_shown() {
        assert!(table(&sites(0), |_| Vec::new()).contains("301        4  0xb\n200        2  0x1f\n"));
    }

    #[test]
    fn another_image_is_refused() {
        let image = std::env::current_exe().unwrap();
        let problem = Code::new(Some(image)).text(&sites(0)).unwrap_err().to_string();
        assert!(problem.contains("but the machine is build 0a"), "{problem}");
        let problem = Code::new(Some("/no/image".into())).text(&HeapSites::default()).unwrap_err().to_string();
        assert!(problem.contains("cannot read /no/image"), "{problem}");
        assert_eq!(Code::new(None).text(&HeapSites::default()).unwrap(), "");
    }
}
