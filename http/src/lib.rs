//! HTTP.
#![no_std]
