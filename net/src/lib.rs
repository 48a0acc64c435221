//! The network.
#![no_std]
