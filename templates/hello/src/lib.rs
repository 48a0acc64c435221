//! What {{project-name}} says.
//!
//! It stands in a library, so that tests reach it: on the workstation and in the machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, string::String};

/// The greeting for somebody.
pub fn greeting(name: &str) -> String {
    format!("hello, {name}, from a machine that runs one program")
}
