//! The machine touches the ports and registers that `unikernel-rt/SURFACE.md` lists, and no others.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use e2e::{client, vm::Vm};

const LIST: &str = include_str!("../../../unikernel-rt/SURFACE.md");

/// A line of the list.
struct Row {
    ports: Vec<RangeInclusive<u64>>,
    /// Names of regions; a `*` at the end stands for anything.
    names: Vec<String>,
    seen: String,
    line: String,
}

/// What was touched: a port, or a named region.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Touched {
    Port(u64),
    Registers(String),
}

fn rows() -> Vec<Row> {
    let (_, lists) = LIST.split_once("## Ports").unwrap();
    let (lists, _) = lists.split_once("## Registers of the CPU").unwrap();
    let rows = lists
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ports") && !line.starts_with("| registers"));
    rows.map(row).collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let mut row = Row { ports: vec![], names: vec![], seen: columns[2].into(), line: line.into() };
    for word in columns[1].split_whitespace() {
        match word.split_once('-').unwrap_or((word, word)) {
            (first, last) if first.starts_with("0x") => row.ports.push(number(first)..=number(last)),
            _ => row.names.push(word.into()),
        }
    }
    row
}

fn number(hex: &str) -> u64 {
    u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap()
}

impl Row {
    fn covers(&self, touched: &Touched) -> bool {
        match touched {
            Touched::Port(port) => self.ports.iter().any(|ports| ports.contains(port)),
            Touched::Registers(name) => self.names.iter().any(|known| match known.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => known == name,
            }),
        }
    }
}

/// What the image touched. The firmware comes first; the image begins with the speed of its console.
fn touched(trace: &Path) -> BTreeSet<Touched> {
    let trace = fs::read_to_string(trace).unwrap();
    let is_start = |line: &&str| line.contains("ops_write") && line.contains("addr 0x3fb value 0x80 ");
    assert!(trace.lines().any(|line| is_start(&line)), "the image does not begin");
    trace.lines().skip_while(|line| !is_start(line)).filter_map(access).collect()
}

/// `memory_region_ops_write cpu 0 mr 0x… addr 0x… value 0x… size 1 name 'serial'`.
fn access(line: &str) -> Option<Touched> {
    let (_, rest) = line.split_once(" addr ")?;
    let address = number(rest.split(' ').next()?);
    let name = rest.split('\'').nth(1)?;
    Some(if address <= 0xffff { Touched::Port(address) } else { Touched::Registers(name.into()) })
}

/// Boots, serves, and ends.
fn trace(machine: &str, folder: &Path) -> PathBuf {
    let file = folder.join(machine);
    let qemu = format!("-trace memory_region_ops_read -trace memory_region_ops_write -D {}", file.display());
    let vm = Vm::serving_with("e2e-guest", &format!("--machine {machine}"), &qemu);
    for _ in 0..20 {
        assert_eq!(client::get(vm.port, "/number/7").status, 200);
    }
    assert_eq!(client::get(vm.port, "/big").status, 200);
    let _ = client::try_get(vm.port, "/exit");
    assert_eq!(vm.ends().code, 43);
    file
}

#[test]
fn the_list_is_what_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, mut all) = (rows(), BTreeSet::new());
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let touched = touched(&trace(machine, folder.path()));
        let unlisted: Vec<_> = touched.iter().filter(|touched| !rows.iter().any(|row| row.covers(touched))).collect();
        assert!(unlisted.is_empty(), "{machine}: not in SURFACE.md: {unlisted:x?}");
        all.extend(touched);
    }
    for row in rows.iter().filter(|row| row.seen == "yes") {
        assert!(all.iter().any(|touched| row.covers(touched)), "nothing touched this: {}", row.line);
    }
}

/// Registers of the CPU do not show in a trace; every source that names one is in the list.
#[test]
fn every_source_that_uses_registers_of_the_cpu_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../unikernel-rt/src/platform/x86_64");
    let (_, list) = LIST.split_once("## Registers of the CPU").unwrap();
    let uses = |text: &str| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words =
            ["rdmsr", "wrmsr", "Msr::new", "Efer::", "XCr0::", "Cr0::", "Cr2::", "Cr3::", "Cr4::", "mov cr", "%cr"];
        code.into_iter().any(|line| words.iter().any(|word| line.contains(word)))
    };
    let mut folders = vec![folder.clone()];
    let mut found = BTreeSet::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if uses(&fs::read_to_string(&path).unwrap()) => {
                    found.insert(path.strip_prefix(&folder).unwrap().display().to_string());
                }
                _ => {}
            }
        }
    }
    let listed: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(found, listed);
}
