//! `cargo unikernel image list`, `inspect` and `delete`: which images were made, and what is in one.
//!
//! An image lies where its maker put it; what is kept here is a note of it (`record.rs`).

mod delete;
mod inspect;
mod list;
mod record;

pub use delete::Delete;
pub use inspect::Inspect;
pub use list::List;
pub(crate) use record::Record;
