//! Makes the files that are served, the same in every build.

use std::{env, fs, path::Path};

fn main() {
    let site = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("site");
    fs::create_dir_all(&site).expect("OUT_DIR can be written");
    for (name, bytes) in [("index.html", page(600)), ("100k.bin", noise(100 << 10)), ("10m.bin", noise(10 << 20))] {
        fs::write(site.join(name), bytes).expect("OUT_DIR can be written");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

/// A page of exactly `len` bytes.
fn page(len: usize) -> Vec<u8> {
    let start = "<!doctype html>\n<html lang=\"en\">\n<title>bench-site</title>\n<h1>It works</h1>\n<p>";
    let end = "</p>\n</html>\n";
    let text = "A page of six hundred bytes, as small pages are. ".repeat(len / 48 + 1);
    format!("{start}{}{end}", &text[..len - start.len() - end.len()]).into_bytes()
}

/// Bytes that do not compress (xorshift, Marsaglia 2003).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}
