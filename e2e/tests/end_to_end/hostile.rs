//! Drivers against a device that breaks the rules, inside the machine: `selftest=fuzz-net`, `fuzz-block`, `fuzz-rng`, `fuzz-tables`.
//!
//! The same seed gives the same rounds. To fuzz for longer, with other numbers, or to see one round again:
//!
//! ```text
//! cargo run -p selftest --target x86_64-unknown-none -- selftest=fuzz-net seed=7 rounds=100000
//! cargo run -p selftest --target x86_64-unknown-none -- selftest=fuzz-net seed=7 first=1143 rounds=1
//! ```

use e2e::vm::Vm;
use std::collections::BTreeMap;

const SEEDS: [u32; 3] = [1, 2, 3];
const ROUNDS: u32 = 300;

/// All that the fuzzer said, with every seed. It panics, and so ends with another code, when a driver does what it must not.
fn fuzz(deed: &str) -> String {
    let run = |seed: u32| {
        let end = Vm::start("selftest", &format!("--net none selftest={deed} seed={seed} rounds={ROUNDS}")).ends();
        assert!(end.code == 0 && end.text.contains("survived"), "{deed} seed={seed}: {end:?}");
        end.text
    };
    SEEDS.map(run).concat()
}

/// The number after `name`.
fn number(line: &str, name: &str) -> u32 {
    let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("{name} is missing: {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} is no number: {line}"))
}

/// Each kind of lie was told and noticed, and honest devices were served.
fn check(deed: &str, kinds_min: usize) {
    let said = fuzz(deed);
    let mut lies = BTreeMap::<&str, [u32; 2]>::new();
    let mut honest = [0; 2];
    for line in said.lines().filter(|line| line.starts_with("fuzz ")) {
        if let Some((_, rest)) = line.split_once(" lie=") {
            let counts = lies.entry(rest.split(' ').next().unwrap_or_default()).or_default();
            *counts = [counts[0] + number(line, "told="), counts[1] + number(line, "noticed=")];
        } else if line.contains(" honest=") {
            honest = [honest[0] + number(line, "honest="), honest[1] + number(line, "answered=")];
        }
    }
    println!("{deed}: honest rounds and answers {honest:?}; told, noticed: {lies:?}");
    assert!(lies.len() >= kinds_min && lies.values().flatten().all(|count| *count > 0), "{deed}: {lies:?}");
    assert!(honest.iter().all(|count| *count > 0), "{deed}: {honest:?}");
}

#[test]
fn network_ports_that_lie() {
    check("fuzz-net", 16);
}

#[test]
fn disks_that_lie() {
    check("fuzz-block", 17);
}

#[test]
fn random_number_devices_that_lie() {
    check("fuzz-rng", 12);
}

/// Of each kind some are right, so that the fuzzer gets deep.
#[test]
fn tables_and_configuration_that_lie() {
    let said = fuzz("fuzz-tables");
    let found = said.lines().filter(|line| line.contains("Found {"));
    let kinds = ["capabilities", "registers", "msix", "functions", "tables", "entries", "generations", "doorbells"];
    for line in found {
        for kind in kinds.iter().chain(&["mmio_devices", "io_apics", "overrides", "power_events"]) {
            assert!(number(line, &format!("{kind}: ")) > 0, "{kind}: {line}");
        }
    }
    assert_eq!(said.matches("Found {").count(), SEEDS.len());
}
