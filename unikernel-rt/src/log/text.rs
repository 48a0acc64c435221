//! Log lines as plain text: on the workstation, and in images for consoles that no runner reads.

pub use defmt_like::{Debug2Format, Display2Format};

use super::{entry::Entry, tail::Level};
use crate::time::Instant;

mod defmt_like {
    use core::fmt;

    /// Logs a value by its `Display`.
    pub struct Display2Format<'a, T: fmt::Display + ?Sized>(pub &'a T);

    /// Logs a value by its `Debug`.
    pub struct Debug2Format<'a, T: fmt::Debug + ?Sized>(pub &'a T);

    impl<T: fmt::Display + ?Sized> fmt::Display for Display2Format<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl<T: fmt::Debug + ?Sized> fmt::Display for Debug2Format<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }
}

#[doc(hidden)]
pub fn line(level: Level, target: &str, text: core::fmt::Arguments<'_>) {
    crate::platform::log_line(&Entry { at: Instant::now(), level, target, text });
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_line {
    ($level:ident, $($argument:tt)*) => {
        $crate::log::line($crate::__log_level!($level), ::core::module_path!(), ::core::format_args!($($argument)*))
    };
}
