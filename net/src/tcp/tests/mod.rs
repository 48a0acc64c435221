//! Tests of the connection: pairs of them over a bad channel, and single ones under attack.

mod invariants;
mod transfer;
mod world;
