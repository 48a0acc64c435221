//! Each boot has a layout of its own: thousands of boots, bit by bit. `BOOTS` says how many.

use std::{collections::HashSet, env, thread};

use e2e::{image::image, qemu};

/// Where the image, the heap and the stack lie.
type Layout = [u64; 3];
const NAMES: [&str; 3] = ["image", "heap", "stack"];

/// Bits of an address that every boot draws: what is below is alignment, what is above the same for all.
const DRAWN_BITS: [std::ops::RangeInclusive<u32>; 3] = [16..=44, 21..=45, 12..=43];
/// What was promised for the image.
const IMAGE_BITS_MIN: usize = 24;

const BOOTS: usize = 1000;

fn layout(image: &std::path::Path, arguments: &str) -> Layout {
    let said = qemu::run(image, "microvm", &format!("selftest=none report=layout {arguments}"), &[]);
    let line = said.lines().find_map(|line| line.strip_prefix("layout "));
    let line = line.unwrap_or_else(|| panic!("no layout in: {said}"));
    let mut words = line.split_whitespace();
    NAMES.map(|name| {
        let word = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix("=0x"));
        u64::from_str_radix(word.unwrap_or_else(|| panic!("{line}")), 16).unwrap()
    })
}

fn boots() -> usize {
    env::var("BOOTS").map_or(BOOTS, |boots| boots.parse().expect("BOOTS is a number"))
}

/// The bit is set in about half of the values: within six standard deviations, which chance leaves once in 500 million.
fn is_fair(values: &[u64], bit: u32) -> bool {
    let (count, set) = (values.len() as f64, values.iter().filter(|value| **value >> bit & 1 != 0).count() as f64);
    (set - count / 2.0).abs() <= 6.0 * count.sqrt() / 2.0
}

#[test]
fn a_thousand_boots() {
    let image = image("selftest");
    let boot = || (0..boots().div_ceil(2)).map(|_| layout(&image, "")).collect::<Vec<_>>();
    let layouts: Vec<Layout> = thread::scope(|scope| {
        let halves = [scope.spawn(boot), scope.spawn(boot)];
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    for (index, name) in NAMES.iter().enumerate() {
        let values: Vec<u64> = layouts.iter().map(|layout| layout[index]).collect();
        let bits: Vec<u32> =
            (0..64).filter(|bit| values.iter().any(|value| (value ^ values[0]) >> bit & 1 != 0)).collect();
        println!("{name}: {} boots, {} bits differ", values.len(), bits.len());
        assert!(DRAWN_BITS[index].clone().all(|bit| is_fair(&values, bit)), "{name}: {values:x?}");
        assert!(index > 0 || bits.len() >= IMAGE_BITS_MIN, "{name}: {bits:?}");
        let different: HashSet<_> = values.iter().collect();
        // Of 2^25 places, a thousand boots meet one twice in one run of 67.
        assert!(different.len() + 3 >= values.len(), "{name}: {} of {}", different.len(), values.len());
    }
    // Whoever learns one address learns nothing of another: their bits agree as often as not.
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let agreement: Vec<u64> = layouts.iter().map(|layout| (layout[one] >> 21) ^ (layout[other] >> 21)).collect();
        assert!((0..22).all(|bit| is_fair(&agreement, bit)), "{} and {}", NAMES[one], NAMES[other]);
    }
}

/// Shows that the test above can fail.
#[test]
fn without_the_protection_every_boot_is_the_same() {
    let image = image("selftest+unprotected");
    let [one, other] = [(); 2].map(|()| layout(&image, "unprotected=layout"));
    assert_eq!(one, other);
}

#[test]
fn nothing_is_told_unasked() {
    let said = qemu::run(&image("selftest"), "microvm", "selftest=none", &[]);
    assert!(said.contains("survived") && !said.contains("layout "), "{said}");
}
