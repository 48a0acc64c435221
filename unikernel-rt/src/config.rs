//! What an app is told at its start: [`Config`], its environment and its arguments, wherever they come from.
//!
//! | first | source | who reads it |
//! |---|---|---|
//! | 1 | the kernel command line | the runtime, at boot |
//! | 2 | QEMU's fw_cfg, the file `opt/unikernel/config` | the runtime, at boot |
//! | 3 | a config partition | `unikernel_blockfs::ConfigPartition`, as an argument of `main` |
//! | 4 | the cloud's metadata service | `unikernel_http::Metadata`, when told by `metadata=` |
//! | 5 | the app's default | the app |
//!
//! Of a key that is in several sources the first counts: who starts a machine knows more than who made its disk. Within one
//! source the last counts. What nobody asks for is an error, whatever source it is from.
//!
//! On the command line a word is `key=value`, `flag` or `env.NAME=value`; everywhere else a line is. Such a text has
//! comments after `#`, and a value in double quotes may hold `\n`, `\r`, `\t`, `\"` and `\\`.

mod fw_cfg;
mod secret;
mod text;

#[cfg(target_os = "none")]
pub(crate) use fw_cfg::{Registers, read};
pub use secret::Secret;
pub use text::TEXT_LEN_MAX;

use crate::{Acquire, Args, Error, Machine, Result, args::Kind, platform::with_core};
use alloc::format;
use core::{
    fmt::{self, Display},
    str::FromStr,
};

/// Where a word is from. The order is the precedence, first the one that counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// The kernel command line.
    CommandLine,
    /// QEMU's fw_cfg.
    FwCfg,
    /// A partition of a disk.
    Partition,
    /// The cloud's metadata service.
    Metadata,
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::CommandLine => "the command line",
            Source::FwCfg => "fw_cfg",
            Source::Partition => "the config partition",
            Source::Metadata => "the metadata service",
        })
    }
}

/// Takes the variable `name` of the environment; `None` when it is absent. As a [`Secret`] it is shown to nobody.
///
/// # Errors
///
/// The value does not parse as a `T`: the error names the variable, its source and the reason, but not the value.
pub fn env<T>(name: &'static str) -> Result<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let found = with_core(|core| core.args.borrow_mut().take(Kind::Variable, name));
    let Some((value, source)) = found else { return Ok(None) };
    let wrong = |error| Error::msg(format!("environment variable `{name}` (from {source}): {error}"));
    value.parse().map(Some).map_err(wrong)
}

/// Adds the words of another source, for those who read one. They count where no earlier source has the same key.
///
/// # Errors
///
/// The text is too long, is no UTF-8 or has a line that is wrong, which is named by its number and not shown; or a key was
/// asked for before, which the answer would have been another to.
pub fn add(source: Source, text: &[u8]) -> Result {
    let words = text::parse(source, text)?;
    with_core(|core| core.args.borrow_mut().add(words))
}

/// The app's environment and its own boot arguments, as an argument of `main`.
///
/// ```
/// # #[allow(dead_code)] mod app {
/// use unikernel_rt::{Config, Result, Secret};
///
/// async fn main(config: Config) -> Result {
///     let port: u16 = config.get("port")?.unwrap_or(8080);
///     let greeting: String = config.env("GREETING")?.unwrap_or_else(|| "hello".into());
///     let token: Secret = config.required("API_TOKEN")?;
///     config.finish()?;
///     # let _ = (port, greeting, token);
///     Ok(())
/// }
/// # }
/// # fn main() {}
/// ```
///
/// Until [`finish`](Self::finish) more may be [added](add). Then the runtime overwrites what it keeps of the environment.
pub struct Config {
    args: Args,
}

impl Config {
    /// See [`env()`].
    ///
    /// # Errors
    ///
    /// The value does not parse.
    pub fn env<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>> {
        env(name)
    }

    /// A variable that there must be.
    ///
    /// # Errors
    ///
    /// It is absent: the error says how to give it. Or it does not parse.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T> {
        env(name)?.ok_or_else(|| {
            Error::msg(format!(
                "this unikernel needs the environment variable `{name}`; start it with `cargo unikernel run --env \
                 {name}=VALUE`, or give it the boot argument `env.{name}=VALUE`"
            ))
        })
    }

    /// See [`args::take`](crate::args::take).
    ///
    /// # Errors
    ///
    /// The value does not parse.
    pub fn get<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<Option<T>> {
        self.args.get(key)
    }

    /// See [`args::take_flag`](crate::args::take_flag).
    ///
    /// # Errors
    ///
    /// The flag has a value.
    pub fn flag(&self, flag: &'static str) -> Result<bool> {
        self.args.flag(flag)
    }

    /// Ends reading. A configuration that is dropped without it is checked, too.
    ///
    /// # Errors
    ///
    /// A word is left that nobody took: the error names its source, and what was perhaps meant.
    pub fn finish(self) -> Result {
        self.args.finish()
    }
}

impl Acquire for Config {
    async fn acquire(machine: &mut Machine) -> Result<Config> {
        machine.args_belong_to_app();
        Ok(Config { args: Args::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    #[test]
    fn without_a_reader_variables_are_unknown() {
        crate::platform::block_on("env.A=1 env.B", async {
            let mut machine = Machine::new();
            let error = machine.finish().unwrap_err().to_string();
            assert_eq!(error, "unknown environment variable `A`; this image understands: none");
            let config = Config::acquire(&mut machine).await.unwrap();
            assert_eq!(config.env::<u8>("A").unwrap(), Some(1));
            machine.finish().unwrap();
            assert_eq!(config.env::<String>("B").unwrap().as_deref(), Some(""));
            config.finish().unwrap();
        });
    }
}
