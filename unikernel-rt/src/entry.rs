//! What [`main`](macro@crate::main) and [`test`](macro@crate::test) expand to. Not part of the API.

use crate::{Error, Machine, Result, platform};
use core::future::Future;

/// Exit code of an app whose `main` returned an error.
pub(crate) const EXIT_APP_ERROR: u8 = 1;
/// Exit code of a machine that cannot start: a device or a boot argument is missing or wrong.
pub(crate) const EXIT_BOOT_ERROR: u8 = 2;

/// Ends the machine before `main`, with a reason.
pub(crate) fn die(error: Error) -> ! {
    platform::console_line(format_args!("unikernel: cannot start: {error}"));
    platform::exit(EXIT_BOOT_ERROR)
}

/// Acquires one argument of `main`.
pub fn acquire<T: crate::Acquire>(machine: &mut Machine) -> T {
    T::acquire(machine).unwrap_or_else(|error| die(error))
}

/// Called between the acquisition and `main`.
pub fn acquired(machine: &Machine) {
    if let Err(error) = machine.finish() {
        die(error);
    }
}

/// Runs `main` to its end, and with it the machine.
pub async fn finish(main: impl Future<Output = Result>) {
    match main.await {
        Ok(()) => platform::exit(0),
        Err(error) => {
            platform::console_line(format_args!("unikernel: the app failed: {error}"));
            platform::exit(EXIT_APP_ERROR)
        }
    }
}

/// What `main` may return: nothing, a [`Result`], or never.
pub trait Outcome {
    /// As a result.
    fn into_result(self) -> Result;
}

impl Outcome for () {
    fn into_result(self) -> Result {
        Ok(())
    }
}

impl Outcome for core::convert::Infallible {
    fn into_result(self) -> Result {
        match self {}
    }
}

impl<E: Into<Error>> Outcome for Result<(), E> {
    fn into_result(self) -> Result {
        self.map_err(Into::into)
    }
}

#[cfg(not(target_os = "none"))]
pub use hosted::*;

#[cfg(not(target_os = "none"))]
mod hosted {
    use super::Outcome;
    use core::future::Future;

    /// The host binary of an app.
    pub fn launch(manifest_dir: &str, package: &str) -> ! {
        crate::platform::launch(manifest_dir, package)
    }

    /// Runs a test in virtual time, with `args` as the command line.
    pub fn run_test<F>(args: &str, test: F)
    where
        F: Future + 'static,
        F::Output: Outcome + 'static,
    {
        if let Err(error) = crate::platform::block_on(args, test).into_result() {
            panic!("{error}");
        }
    }
}

/// The entry of an image; expanded by `#[unikernel_rt::main]`. The unsafe attribute is this crate's word, not the
/// app's, which may forbid unsafe code.
#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ($main:path, [$($argument:ident: $type:ty),*]) => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn __unikernel_main(machine: &mut $crate::Machine) {
                $(let $argument = $crate::entry::acquire::<$type>(machine);)*
                $crate::entry::acquired(machine);
                $crate::spawn($crate::entry::finish(async move {
                    $crate::entry::Outcome::into_result($main($($argument),*).await)
                }));
            }
        };
    };
}

/// The entry of an app's host binary: it starts the virtual machine.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ($main:path, [$($argument:ident: $type:ty),*]) => {
        const _: () = {
            #[cfg(not(test))]
            #[unsafe(no_mangle)]
            extern "C" fn main() -> i32 {
                $crate::entry::launch(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"))
            }
            // The machine's `main` is compiled here too, so that a mistake in it is seen on the host.
            #[allow(dead_code)]
            fn check_types(machine: &mut $crate::Machine) {
                $(let $argument = $crate::entry::acquire::<$type>(machine);)*
                drop(async move { $crate::entry::Outcome::into_result($main($($argument),*).await) });
            }
        };
    };
}

/// A test of the workstation.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ($name:ident, $args:literal, [$($attribute:tt)*], { $($function:tt)* }) => {
        $($attribute)*
        #[test]
        fn $name() {
            $($function)*
            $crate::entry::run_test($args, $name())
        }
    };
}
