//! The `cargo unikernel` command; everything is in the library, where tests reach it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_unikernel::cli::main()
}
