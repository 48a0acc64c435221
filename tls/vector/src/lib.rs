//! AES-GCM in assembly.
#![no_std]
