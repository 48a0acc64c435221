//! The tests are in `tests/`; run them with `cargo test -p vm-tests --target x86_64-unknown-none`.
#![no_std]
