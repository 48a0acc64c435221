//! Tests of the connection: pairs of them over a bad channel, and single ones under attack.

mod attack;
mod invariants;
mod lone;
mod states;
mod timing;
mod transfer;
mod world;
