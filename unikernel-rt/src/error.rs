//! The error an app's `main` may return: any error, or a sentence that tells the reader what to do next.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// The result of `main` and of acquiring devices.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Any error. Built from a message with [`Error::msg`] or, by `?`, from every [`core::error::Error`].
pub struct Error(Box<dyn fmt::Display>);

impl Error {
    /// An error that says `message`.
    pub fn msg(message: impl Into<String>) -> Error {
        Error(Box::new(message.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// `{:?}` is what `unwrap` and a failing test print; the sentence serves both.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// `Error` itself does not implement `core::error::Error`, or this would overlap with `From<T> for T`.
impl<E: core::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        Error(Box::new(error))
    }
}
