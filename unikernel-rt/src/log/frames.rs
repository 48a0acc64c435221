//! Log lines of an image: defmt frames on the console.

pub use defmt::{Debug2Format, Display2Format};

#[doc(hidden)]
pub use defmt;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_line {
    // The `use` gives defmt's macros the crate under the name they expand to.
    ($level:ident, $($argument:tt)*) => {{
        #[allow(unused_imports)]
        use $crate::log::defmt;
        $crate::log::defmt::$level!($($argument)*)
    }};
}
