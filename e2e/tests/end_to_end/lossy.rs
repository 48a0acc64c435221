//! Linux's TCP as a peer over a wire that does harm, and beside a flood.

use e2e::{
    client::curl,
    namespace,
    noise::Noise,
    vm::Vm,
    wire::{Faults, Wire},
};
use std::{fs, time::Duration};

const ADDRESSES: &str = "--net none ip=10.78.0.2/24 ip6=fd78::2/64";
const URLS: [&str; 2] = ["http://10.78.0.2:8080", "http://[fd78::2]:8080"];

fn boot(wire: &Wire) -> Vm {
    let vm = Vm::start_with("e2e-guest", ADDRESSES, wire.qemu());
    vm.says("network: address fd78::2");
    vm
}

fn counter(name: &str) -> u64 {
    let counters = curl(&[&format!("{}/counters", URLS[0])]).text().to_owned();
    let line = counters.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {counters}")).parse().unwrap()
}

/// What the machine takes as a whole is bounded (2 MiB).
const WHOLE_LEN: usize = 1_000_000;

/// Sends so many bytes to the machine and gets them back, over both families.
fn check(len: usize, faults: Faults) {
    let wire = Wire::lay(faults);
    let _vm = boot(&wire);
    for url in URLS {
        // One answers while it reads, so that both directions are busy; the other when it has read all.
        goes_and_comes_back(&format!("{url}/echo"), len);
        goes_and_comes_back(&format!("{url}/echo-whole"), WHOLE_LEN);
    }
    if faults.lost > 0 {
        assert!(counter("retransmits") > 0, "nothing was lost");
    }
}

fn goes_and_comes_back(url: &str, len: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sent = Noise::new(3).bytes(len);
    fs::write(path("sent"), &sent).unwrap();
    curl(&["--globoff", "-H", "Expect:", "-X", "POST", "-T", &path("sent"), "-o", &path("got"), url]);
    let got = fs::read(path("got")).unwrap();
    let same = sent.iter().zip(&got).take_while(|(a, b)| a == b).count();
    assert!(same == len && got.len() == len, "{url}: {} bytes came back, the first {same} right", got.len());
}

#[test]
fn nothing_lost() {
    namespace::inside(|| check(4_000_000, Faults::default()));
}

#[test]
fn one_of_a_hundred_lost() {
    namespace::inside(|| check(4_000_000, Faults { lost: 10, delay: Duration::from_millis(2), ..Faults::default() }));
}

#[test]
fn one_of_twenty_lost_some_doubled_and_overtaken() {
    namespace::inside(|| {
        let (delay, late) = (Duration::from_millis(5), Duration::from_millis(3));
        check(1_000_000, Faults { lost: 50, doubled: 20, overtaken: 50, delay, late });
    });
}

/// SYNs from addresses that are nobody's: their handshakes never end.
#[test]
fn a_small_flood_beside_an_honest_client() {
    namespace::inside(|| {
        let wire = Wire::lay(Faults::default());
        let _vm = boot(&wire);
        let url = format!("{}/number/7", URLS[0]);
        assert_eq!(curl(&[&url]).text(), "7");
        let accepted = counter("accepted");
        for number in 0..4000_u32 {
            wire.send(&syn(number));
            if number % 100 == 0 {
                assert_eq!(curl(&[&url]).text(), "7", "after {number} SYNs");
            }
        }
        // The honest client's 40, and this question.
        assert_eq!(counter("accepted") - accepted, 41);
        assert!(counter("flows") < 4000, "{} half open", counter("half_open"));
        assert!(counter("cookies") > 0);
    });
}

/// A whole frame; the sender is different for each number, and outside of the network.
fn syn(number: u32) -> Vec<u8> {
    let (from, to) = ([198, 18, (number >> 8) as u8, number as u8], [10, 78, 0, 2]);
    let port = 1024 + (number % 60_000) as u16;
    let mut segment = [&port.to_be_bytes()[..], &8080_u16.to_be_bytes(), &number.to_be_bytes(), &[0; 4]].concat();
    // A header of 5 words, SYN, a window.
    segment.extend([0x50, 0x02, 0x20, 0x00, 0, 0, 0, 0]);
    let pseudo = [&from[..], &to, &[0, 6, 0, segment.len() as u8], &segment].concat();
    segment[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut header = [&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0][..], &from, &to].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    // QEMU's first card has this address; the sender's is nobody's.
    [&[0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 9, 8, 0][..], &header, &segment].concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
