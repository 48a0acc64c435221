//! Log lines as plain text: on the workstation, and in images for consoles that no runner reads.

pub use defmt_like::{Debug2Format, Display2Format};

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
pub fn line(level: &str, text: core::fmt::Arguments<'_>) {
    let micros = crate::time::Instant::now().as_micros();
    crate::platform::console_line(format_args!(
        "{:>4}.{:06} {level:<5} {text}",
        micros / 1_000_000,
        micros % 1_000_000
    ));
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($argument:tt)*) => {
        $crate::log::line(::core::stringify!($level), ::core::format_args!($($argument)*))
    };
}
