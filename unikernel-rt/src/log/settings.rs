//! How this machine logs.

use super::entry::{Format, Origin};
use crate::{Error, Result, args, platform::with_core, sync::Notify};
use alloc::rc::Rc;
use core::cell::{Cell, OnceCell};

/// What of logging belongs to a core.
pub(crate) struct Settings {
    pub(crate) format: Cell<Format>,
    hostname: OnceCell<alloc::string::String>,
    app: Cell<&'static str>,
    /// A line was logged.
    pub(crate) news: Rc<Notify>,
}

impl Settings {
    pub(crate) fn new() -> Settings {
        Settings {
            format: Cell::default(),
            hostname: OnceCell::new(),
            app: Cell::new(""),
            news: Rc::new(Notify::of("a log line")),
        }
    }

    /// Calls `f` with what lines of JSON say of the machine.
    pub(crate) fn with_origin<R>(&self, f: impl FnOnce(&Origin<'_>) -> R) -> R {
        f(&Origin { app: self.app.get(), hostname: self.hostname.get().map(|name| &**name) })
    }
}

/// Whether log lines are text in this image, which sinks need. Without the feature `text-log` they are frames that only the
/// runner can read, with the ELF.
pub const IS_TEXT: bool = cfg!(any(not(target_os = "none"), feature = "text-log"));

/// Succeeds where log lines are text.
///
/// # Errors
///
/// `who` needs text, and the image has none: the error says what to do.
pub fn require_text(who: &str) -> Result {
    if IS_TEXT {
        return Ok(());
    }
    Err(Error::msg(alloc::format!(
        "{who} needs the text of log lines, which this image leaves to its ELF; build it with the feature `text-log` of \
         unikernel-rt"
    )))
}

/// Obeys the boot argument `log=`. The name of the machine is checked here for all who take it.
pub(crate) fn init() -> Result {
    args::refuse_empty("hostname")?;
    let Some(format) = args::take::<Format>("log")? else { return Ok(()) };
    require_text("the boot argument `log=`")?;
    let hostname = if format == Format::Json { args::take("hostname")? } else { None };
    with_core(|core| {
        core.log.format.set(format);
        hostname.map(|name| core.log.hostname.set(name));
    });
    Ok(())
}

/// Says which app this is.
pub(crate) fn set_app_name(name: &'static str) {
    with_core(|core| core.log.app.set(name));
}

/// The package of the app; empty in hosted tests.
pub fn app_name() -> &'static str {
    with_core(|core| core.log.app.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn check(line: &'static str, expected: &str) {
        let shown = crate::sim::run("", async move {
            with_core(|core| *core.args.borrow_mut() = args::BootArgs::parse(line));
            init().map_or_else(|error| error.to_string(), |()| String::new())
        });
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn an_empty_hostname_is_an_error() {
        let error = "boot argument `hostname=`: it has no value; give it one, or leave it out";
        for line in ["hostname=", "hostname", "log=json hostname=", "hostname=a hostname="] {
            check(line, error);
        }
        for line in ["", "hostname=a", "hostname= hostname=a"] {
            check(line, "");
        }
    }
}
