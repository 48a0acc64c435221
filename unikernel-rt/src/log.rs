//! Log lines: `error!`, `warn!`, `info!`, `debug!`, `trace!`.
//!
//! In an image they become [defmt](https://defmt.ferrous-systems.com) frames: the text stays in the ELF, and
//! the runner puts it back together, with level and time. On the workstation they are plain lines on standard
//! error. `DEFMT_LOG` sets the most detailed level at build time (`info` in this workspace).
//!
//! With the feature `text-log` an image writes plain text, too, for consoles that no runner reads, or with the boot argument
//! `log=json` a JSON object a line. Records of the `log` crate, which third-party crates use, join the others.
//!
//! Placeholders: `{}`, `{:?}`, `{:x}`. Arguments are numbers, strings, `bool`, addresses, and through
//! [`Display2Format`] or [`Debug2Format`] anything that implements the trait of that name.
//!
//! Logging never waits: a line goes to a piece of memory, from where the console gets it when it can take it. When a
//! console is so slow that this fills, new lines are dropped, and a later line says how many. [`tail`] reads the lines
//! beside the console, as data where they are text, and [`level`] says which are logged while the machine runs.

#[cfg_attr(all(target_os = "none", not(feature = "text-log")), allow(dead_code, reason = "for lines of text"))]
pub(crate) mod entry;
#[cfg(all(target_os = "none", not(feature = "text-log")))]
mod frames;
pub mod level;
mod record;
pub(crate) mod ring;
#[cfg_attr(all(target_os = "none", not(feature = "text-log")), allow(dead_code, reason = "for lines of text"))]
pub(crate) mod settings;
pub mod tail;
#[cfg(any(not(target_os = "none"), feature = "text-log"))]
mod text;

#[cfg(all(target_os = "none", not(feature = "text-log")))]
pub use frames::*;
#[cfg(any(not(target_os = "none"), feature = "text-log"))]
pub use text::*;

pub use settings::{IS_TEXT, app_name, require_text};

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// Logs at level `error`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($argument:tt)*) => { $crate::__log!(error, $($argument)*) };
}

/// Logs at level `warn`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($argument:tt)*) => { $crate::__log!(warn, $($argument)*) };
}

/// Logs at level `info`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($argument:tt)*) => { $crate::__log!(info, $($argument)*) };
}

/// Logs at level `debug`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($argument:tt)*) => { $crate::__log!(debug, $($argument)*) };
}

/// Logs at level `trace`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($argument:tt)*) => { $crate::__log!(trace, $($argument)*) };
}

/// Logs unless a rule of [`level`](crate::log::level) is against it. What is not compiled in is not asked about.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($argument:tt)*) => {
        if $crate::log::level::is_built($crate::__log_level!($level))
            && $crate::log::level::is_on($crate::__log_level!($level), ::core::module_path!())
        {
            $crate::__log_line!($level, $($argument)*);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_level {
    (error) => {
        $crate::log::tail::Level::Error
    };
    (warn) => {
        $crate::log::tail::Level::Warn
    };
    (info) => {
        $crate::log::tail::Level::Info
    };
    (debug) => {
        $crate::log::tail::Level::Debug
    };
    (trace) => {
        $crate::log::tail::Level::Trace
    };
}
