//! Boot arguments: the words of the kernel command line, `key=value` or a bare `flag`.
//!
//! Configuration comes from here and not from build options: one image, two addresses. Whoever understands
//! an argument takes it; what nobody took when `main` has its arguments is an error that names it, so a
//! typing error never passes as a default. Of an argument that is there twice the last counts: whoever starts the machine
//! may append to a line that it was given.

use crate::{Acquire, Error, Machine, Result, platform::with_core};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt::Display, str::FromStr};

/// The words of the command line and which of them were understood.
#[derive(Default)]
pub(crate) struct BootArgs {
    words: Vec<Word>,
    /// Every key somebody asked for, for the error about one that nobody did.
    known: Vec<&'static str>,
}

struct Word {
    key: String,
    value: Option<String>,
    taken: bool,
}

impl BootArgs {
    pub(crate) fn parse(line: &str) -> BootArgs {
        let words = line.split_ascii_whitespace().map(|word| match word.split_once('=') {
            Some((key, value)) => Word { key: key.into(), value: Some(value.into()), taken: false },
            None => Word { key: word.into(), value: None, taken: false },
        });
        BootArgs { words: words.collect(), known: Vec::new() }
    }

    fn note(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// The value of `key`; the last one counts when it is there twice.
    fn take(&mut self, key: &'static str) -> Option<String> {
        self.note(key);
        let mut found = None;
        for word in self.words.iter_mut().filter(|word| word.key == key) {
            word.taken = true;
            found = Some(word.value.clone().unwrap_or_default());
        }
        found
    }

    fn check(&self) -> Result {
        let Some(word) = self.words.iter().find(|word| !word.taken) else { return Ok(()) };
        Err(Error::msg(format!(
            "unknown boot argument `{}`; this image understands: {}",
            word.key,
            if self.known.is_empty() { "none".to_string() } else { self.known.join(", ") }
        )))
    }
}

/// Takes the boot argument `key=value`; `None` when it is absent. The last one counts when it is there twice.
///
/// # Errors
///
/// The value does not parse as a `T`: the error names the argument, the value and the reason.
pub fn take<T>(key: &'static str) -> Result<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let Some(value) = with_core(|core| core.args.borrow_mut().take(key)) else { return Ok(None) };
    value.parse().map(Some).map_err(|error| Error::msg(format!("boot argument `{key}={value}`: {error}")))
}

/// Takes the boot argument `flag`, which has no value.
///
/// # Errors
///
/// It was given a value.
pub fn take_flag(flag: &'static str) -> Result<bool> {
    match with_core(|core| core.args.borrow_mut().take(flag)) {
        None => Ok(false),
        Some(value) if value.is_empty() => Ok(true),
        Some(value) => Err(Error::msg(format!("boot argument `{flag}={value}`: it takes no value; write `{flag}`"))),
    }
}

/// Succeeds when `key` is absent, or has a value. It is not taken.
///
/// # Errors
///
/// It is there without a value.
pub(crate) fn refuse_empty(key: &'static str) -> Result {
    with_core(|core| {
        let args = core.args.borrow();
        let word = args.words.iter().rfind(|word| word.key == key);
        match word.is_some_and(|word| word.value.as_ref().is_none_or(String::is_empty)) {
            true => Err(Error::msg(format!("boot argument `{key}=`: it has no value; give it one, or leave it out"))),
            false => Ok(()),
        }
    })
}

/// Takes every argument `key=value` whose key begins with `prefix`, for keys that carry a number or a name.
#[cfg(target_os = "none")]
pub(crate) fn take_prefixed(prefix: &'static str) -> Vec<(String, String)> {
    with_core(|core| {
        let words = &mut core.args.borrow_mut().words;
        let mine = words.iter_mut().filter(|word| word.key.starts_with(prefix));
        mine.map(|word| {
            word.taken = true;
            (word.key.clone(), word.value.clone().unwrap_or_default())
        })
        .collect()
    })
}

/// Fails when an argument is left that nobody took.
///
/// The entry calls this after `main`'s arguments have been acquired, and [`Args::finish`] when `main` reads
/// its own.
pub(crate) fn check_all_taken() -> Result {
    with_core(|core| core.args.borrow().check())
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
        Ok(Args { finished: false })
    }
}
