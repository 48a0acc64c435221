//! What [`main`](macro@crate::main) and [`test`](macro@crate::test) expand to. Not part of the API.

use crate::{Error, Machine, Result, lifecycle, metrics, platform};
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
pub async fn acquire<T: crate::Acquire>(machine: &mut Machine) -> T {
    T::acquire(machine).await.unwrap_or_else(|error| die(error))
}

/// Called first.
pub fn name_app(name: &'static str) {
    crate::log::settings::set_app_name(name);
}

/// Called between the acquisition and `main`.
pub fn acquired(machine: &Machine) {
    begin(machine.finish());
}

fn begin(checked: Result) {
    if let Err(error) = checked {
        die(error);
    }
    started();
}

/// Called when the function of [`start`](crate::start!) returned.
pub fn started() {
    platform::main_reached();
    metrics::main_begins();
}

/// Runs `main` to its end, and with it the machine: what is registered with [`lifecycle`] is finished first.
pub async fn finish(main: impl Future<Output = Result>) {
    let code = match lifecycle::run_main(main).await {
        Ok(()) => 0,
        Err(error) => {
            platform::console_line(format_args!("unikernel: the app failed: {error}"));
            EXIT_APP_ERROR
        }
    };
    lifecycle::main_returned(code);
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
            #[allow(unused_mut)]
            fn __unikernel_main(mut machine: $crate::Machine) {
                $crate::entry::name_app(env!("CARGO_PKG_NAME"));
                $crate::spawn_named("main", $crate::entry::finish(async move {
                    $(let $argument = $crate::entry::acquire::<$type>(&mut machine).await;)*
                    $crate::entry::acquired(&machine);
                    drop(machine);
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
            #[unsafe(export_name = "main")]
            extern "C" fn host_main() -> i32 {
                $crate::entry::launch(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"))
            }
            // The machine's `main` is compiled here too, so that a mistake in it is seen on the host.
            #[allow(dead_code)]
            fn check_types(machine: &mut $crate::Machine) {
                drop(async move {
                    $(let $argument = $crate::entry::acquire::<$type>(machine).await;)*
                    $crate::entry::Outcome::into_result($main($($argument),*).await)
                });
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

/// The lowest entry of an image: calls `$start`, a `fn(Machine)`, when the machine is set up. It spawns tasks and returns; from then on they
/// run, until somebody calls [`exit`](crate::exit) or [`lifecycle::request_stop`](crate::lifecycle::request_stop).
///
/// For programs that wire their devices and tasks themselves; [`main`](macro@crate::main) is this with arguments that are acquired, a result
/// that becomes the exit code, and an end in good order. Nobody checks here that each boot argument was taken:
/// [`Args::finish`](crate::Args::finish) does. On a workstation it expands to the program that starts the virtual machine.
///
/// ```no_run
/// # #![no_main]
/// use unikernel_rt::{Machine, spawn};
///
/// unikernel_rt::start!(start);
///
/// fn start(mut machine: Machine) {
///     spawn(async move {
///         let code = u8::from(machine.take_net().is_err());
///         unikernel_rt::exit(code)
///     });
/// }
/// ```
#[macro_export]
macro_rules! start {
    ($start:path) => {
        $crate::__start!($start);
    };
}

#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __start {
    ($start:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn __unikernel_main(machine: $crate::Machine) {
                $crate::entry::name_app(env!("CARGO_PKG_NAME"));
                let start: fn($crate::Machine) = $start;
                start(machine);
                $crate::entry::started();
            }
        };
    };
}

#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __start {
    ($start:path) => {
        const _: () = {
            #[cfg(not(test))]
            #[unsafe(export_name = "main")]
            extern "C" fn host_main() -> i32 {
                $crate::entry::launch(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"))
            }
            // The machine's function is compiled here too, so that a mistake in it is seen on the host.
            const _: fn($crate::Machine) = $start;
        };
    };
}

/// A test of the virtual machine: a record that the harness finds.
#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ($name:ident, $args:literal, [$($attribute:tt)*], { $($function:tt)* }) => {
        $($attribute)*
        const _: () = {
            $($function)*
            #[used]
            #[unsafe(link_section = ".unikernel.tests")]
            static TEST: $crate::entry::TestCase = $crate::entry::TestCase {
                name: ::core::stringify!($name),
                run: || $crate::entry::boxed($name()),
            };
        };
    };
}

/// The entry of a test image: runs every `#[unikernel_rt::test]` of the file, one after the other. The machine's exit
/// code is the verdict. Write it once per test file, after the attributes `#![no_std]` and `#![no_main]`.
///
/// On the host it expands to a `main` that says where these tests run. Tests that need no machine go into ordinary
/// hosted tests instead.
#[macro_export]
macro_rules! test_harness {
    () => {
        $crate::__test_harness!();
    };
}

#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __test_harness {
    () => {
        fn main() {
            ::std::println!(
                "skipped: these tests run in the virtual machine: cargo unikernel test -p {}",
                ::core::env!("CARGO_PKG_NAME")
            );
        }
    };
}

#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __test_harness {
    () => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn __unikernel_main(machine: $crate::Machine) {
                $crate::entry::name_app(env!("CARGO_PKG_NAME"));
                $crate::entry::run_tests(&machine);
            }
        };
    };
}

#[cfg(target_os = "none")]
pub use bare::*;

#[cfg(target_os = "none")]
mod bare {
    use super::Outcome;
    use crate::{
        Machine, Result, args,
        platform::{self, console_line},
    };
    use alloc::{boxed::Box, string::String};
    use core::{future::Future, pin::Pin};

    /// Exit code of a test image in which a test failed.
    const EXIT_TEST_FAILED: u8 = 104;

    /// A test of a test image.
    pub struct TestCase {
        /// The function's name.
        pub name: &'static str,
        /// Starts it.
        pub run: fn() -> Pin<Box<dyn Future<Output = Result>>>,
    }

    /// A test's future, boxed.
    pub fn boxed<F>(test: F) -> Pin<Box<dyn Future<Output = Result>>>
    where
        F: Future<Output: Outcome> + 'static,
    {
        Box::pin(async { test.await.into_result() })
    }

    /// Runs the tests whose name contains the boot argument `test=`. A panic ends the machine with its report.
    pub fn run_tests(_: &Machine) {
        let filter: String = args::take("test").unwrap_or_else(|error| super::die(error)).unwrap_or_default();
        super::begin(args::check_arguments());
        crate::spawn_named("tests", async move {
            let tests = platform::tests().iter().filter(|test| test.name.contains(&*filter));
            let (mut passed, mut failed) = (0, 0);
            for test in tests {
                console_line(format_args!("test {} ...", test.name));
                match (test.run)().await {
                    Ok(()) => {
                        passed += 1;
                        console_line(format_args!("test {} ok", test.name));
                    }
                    Err(error) => {
                        failed += 1;
                        console_line(format_args!("test {} failed: {error}", test.name));
                    }
                }
            }
            let verdict = if failed == 0 { "ok" } else { "FAILED" };
            console_line(format_args!("test result: {verdict}. {passed} passed; {failed} failed"));
            platform::exit(if failed == 0 { 0 } else { EXIT_TEST_FAILED });
        });
    }
}
