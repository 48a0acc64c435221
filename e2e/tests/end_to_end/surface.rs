//! The machine touches the ports and registers that `unikernel-rt/SURFACE.md` lists, and no others.

use std::{
    collections::BTreeSet,
    fs::{self, File},
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

/// Boots, serves, uses a disk, and ends.
fn trace(machine: &str, folder: &Path) -> PathBuf {
    let (file, disk) = (folder.join(machine), folder.join(format!("{machine}.disk")));
    File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let suffix = if machine.starts_with("microvm") { "device" } else { "pci" };
    let qemu = format!(
        "-trace memory_region_ops_read -trace memory_region_ops_write -D {} \
         -drive if=none,id=disk,format=raw,file={} -device virtio-blk-{suffix},drive=disk",
        file.display(),
        // QEMU doubles a comma in a name.
        disk.display().to_string().replace(',', ",,")
    );
    let vm = Vm::serving_with("e2e-guest", &format!("--machine {machine}"), &qemu);
    for _ in 0..20 {
        assert_eq!(client::get(vm.port, "/number/7").status, 200);
    }
    assert_eq!(client::get(vm.port, "/big").status, 200);
    assert_eq!(client::get(vm.port, "/leave/this").status, 200);
    assert_eq!(client::get(vm.port, "/left").status, 200);
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

/// How the sources name a register of the CPU, and its name in the list. Those with a number come in [`numbered`].
const NAMES: [(&str, &str); 14] = [
    ("Cr0::", "CR0"),
    ("%cr0", "CR0"),
    ("Cr2::", "CR2"),
    ("%cr2", "CR2"),
    ("Cr3::", "CR3"),
    ("%cr3", "CR3"),
    ("Cr4::", "CR4"),
    ("%cr4", "CR4"),
    ("mov cr8", "CR8"),
    ("%cr8", "CR8"),
    ("Cr8::", "CR8"),
    ("Efer::", "EFER"),
    ("XCr0::", "XCR0"),
    ("xsetbv", "XCR0"),
];

/// The registers that a source names.
fn registers(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
    let named = |line: &str| {
        // `XCr0::` has `Cr0::` in it.
        let line = if line.contains("XCr0::") { line.replace("XCr0::", "xsetbv") } else { line.to_owned() };
        NAMES.iter().filter(move |(word, _)| line.contains(word)).map(|(_, name)| (*name).to_owned())
    };
    let by_number = code.iter().enumerate().filter_map(|(at, line)| numbered(&code[..at], &code, line));
    code.iter().flat_map(|line| named(line)).chain(by_number).collect()
}

/// The register that `rdmsr`, `wrmsr` or `Msr::new` on this line means: by the number in ECX, or by a constant.
fn numbered(before: &[&str], code: &[&str], line: &str) -> Option<String> {
    let number = if line.contains("rdmsr") || line.contains("wrmsr") {
        before
            .iter()
            .rev()
            .find_map(|line| line.trim().strip_prefix("movl $")?.strip_suffix(", %ecx").map(str::to_owned))
    } else {
        let (_, rest) = line.split_once("Msr::new(")?;
        let name = rest.split(')').next()?;
        let value =
            code.iter().find_map(|line| line.split_once(&format!("const {name}: u32 = "))).map(|(_, value)| value);
        value
            .or(Some(name))
            .filter(|value| value.starts_with("0x"))
            .map(|value| value.trim_end_matches(';').replace('_', ""))
    };
    let number = number.unwrap_or_else(|| panic!("which register is it? {line}"));
    Some(if number == "0xc0000080" { "EFER".into() } else { number })
}

/// Registers of the CPU do not show in a trace: what each source names is what the list says of it.
#[test]
fn every_register_of_the_cpu_is_listed_with_its_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../unikernel-rt/src/platform/x86_64");
    let (mut folders, mut found) = (vec![folder.clone()], BTreeSet::new());
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            found.extend(
                registers(&fs::read_to_string(&path).unwrap()).into_iter().map(|register| (name.clone(), register)),
            );
        }
    }
    let (_, list) = LIST.split_once("## Registers of the CPU").unwrap();
    let mut listed = BTreeSet::new();
    for row in list.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let columns: Vec<&str> = row.split('|').collect();
        for source in columns[2].split('`').skip(1).step_by(2) {
            listed.extend(columns[1].split_whitespace().map(|register| (source.to_owned(), register.to_owned())));
        }
    }
    assert_eq!(found, listed);
}
