//! Boot arguments: the words of the kernel command line, `key=value` or a bare `flag`; [`config`](crate::config) has the
//! other places that they may come from.
//!
//! Configuration comes from here and not from build options: one image, two addresses. Whoever understands
//! an argument takes it; what nobody took when `main` has its arguments is an error that names it, so a
//! typing error never passes as a default. Of an argument that is there twice the last counts: whoever starts the machine
//! may append to a line that it was given.
//!
//! Of the words before a word `--` those that nobody took are no error: whoever runs the machine writes them there, whatever the machine is
//! (urunc does). They are told in the log.

mod near;
mod store;

use crate::{Acquire, Error, Machine, Result, platform::with_core};
#[cfg(target_os = "none")]
use alloc::vec::Vec;
use alloc::{format, string::String};
use core::{fmt::Display, str::FromStr};
pub(crate) use store::{BootArgs, Kind, Word};

/// Takes the boot argument `key=value`; `None` when it is absent. The last one counts when it is there twice.
///
/// # Errors
///
/// The value does not parse as a `T`: the error names the argument, the value and the reason.
pub fn take<T>(key: &'static str) -> Result<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let Some(value) = taken(key) else { return Ok(None) };
    value.parse().map(Some).map_err(|error| Error::msg(format!("boot argument `{key}={value}`: {error}")))
}

/// Takes the boot argument `flag`, which has no value.
///
/// # Errors
///
/// It was given a value.
pub fn take_flag(flag: &'static str) -> Result<bool> {
    match taken(flag) {
        None => Ok(false),
        Some(value) if value.is_empty() => Ok(true),
        Some(value) => Err(Error::msg(format!("boot argument `{flag}={value}`: it takes no value; write `{flag}`"))),
    }
}

fn taken(key: &'static str) -> Option<String> {
    let found = with_core(|core| core.args.borrow_mut().take(Kind::Argument, key));
    found.map(|(mut value, _)| core::mem::take(&mut *value))
}

/// Succeeds when `key` is absent, or has a value. It is not taken.
///
/// # Errors
///
/// It is there without a value.
pub(crate) fn refuse_empty(key: &'static str) -> Result {
    with_core(|core| {
        let args = core.args.borrow();
        match args.argument(key).is_some_and(|word| word.value.as_ref().is_none_or(|value| value.is_empty())) {
            true => Err(Error::msg(format!("boot argument `{key}=`: it has no value; give it one, or leave it out"))),
            false => Ok(()),
        }
    })
}

/// Takes every argument `key=value` whose key begins with `prefix`, for keys that carry a number or a name.
#[cfg(target_os = "none")]
pub(crate) fn take_prefixed(prefix: &'static str) -> Vec<(String, String)> {
    with_core(|core| core.args.borrow_mut().take_prefixed(prefix))
}

/// Fails when an argument or a variable is left that nobody took, and forgets the environment.
///
/// The entry calls this after `main`'s arguments have been acquired, and [`Args::finish`] when `main` reads
/// its own.
pub(crate) fn check_all_taken() -> Result {
    for key in with_core(|core| core.args.borrow().refused_offers()) {
        crate::log::info!("the boot argument `{}` before `--` is of no use here", key.as_str());
    }
    with_core(|core| {
        let mut args = core.args.borrow_mut();
        args.check(&[Kind::Argument, Kind::Variable]).inspect(|()| args.forget_environment())
    })
}

/// Fails when an argument is left that nobody took: tests read the environment when they run.
#[cfg(target_os = "none")]
pub(crate) fn check_arguments() -> Result {
    with_core(|core| core.args.borrow().check(&[Kind::Argument]))
}

/// The app's own boot arguments, as an argument of `main`.
///
/// ```
/// # #[allow(dead_code)] mod app {
/// use unikernel_rt::{Args, Result};
///
/// async fn main(args: Args) -> Result {
///     let port: u16 = args.get("port")?.unwrap_or(8080);
///     let verbose = args.flag("verbose")?;
///     args.finish()?;
///     # let _ = (port, verbose);
///     Ok(())
/// }
/// # }
/// # fn main() {}
/// ```
pub struct Args {
    finished: bool,
}

impl Args {
    /// Whoever has them checks them.
    pub(crate) fn new() -> Args {
        Args { finished: false }
    }

    /// See [`take`].
    ///
    /// # Errors
    ///
    /// The value does not parse.
    pub fn get<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<Option<T>> {
        take(key)
    }

    /// See [`take_flag`].
    ///
    /// # Errors
    ///
    /// The flag has a value.
    pub fn flag(&self, flag: &'static str) -> Result<bool> {
        take_flag(flag)
    }

    /// Ends reading.
    ///
    /// # Errors
    ///
    /// An argument is left that nobody took.
    pub fn finish(mut self) -> Result {
        self.finished = true;
        check_all_taken()
    }
}

/// Arguments that were not [finished](Args::finish) are checked here, so that an unknown one cannot pass.
impl Drop for Args {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = check_all_taken()
        {
            crate::entry::die(error);
        }
    }
}

impl Acquire for Args {
    async fn acquire(machine: &mut Machine) -> Result<Args> {
        machine.args_belong_to_app();
        Ok(Args::new())
    }
}
