//! Has the site compiled in again when a file comes or goes.

fn main() {
    println!("cargo::rerun-if-changed=site");
}
