//! Which lines are logged, by module; it may change while the machine runs.
//!
//! Until somebody changes it, a log call reads one word. Levels beyond [`BUILT`] are not in the image at all.
//!
//! ```
//! use unikernel_rt::log::{level, tail::Level};
//!
//! # unikernel_rt::sim::run("", async {
//! level::set("", Some(Level::Warn)).unwrap(); // the rest is quiet,
//! level::set("unikernel_net", Some(Level::Debug)).unwrap(); // but of the network we hear more.
//! assert!(level::is_on(Level::Debug, "unikernel_net::tcp"));
//! assert!(!level::is_on(Level::Info, "my_app"));
//! # });
//! ```

use super::ring::Level;
use crate::platform::with_core;
use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// Every call looks at each rule, so there is a bound.
pub const RULES_MAX: usize = 32;

/// Longer paths are no module's.
pub const MODULE_LEN_MAX: usize = 128;

/// The most detailed level that is compiled in: that of `DEFMT_LOG`, or all where lines are plain text or `DEFMT_LOG` has
/// more to say than a level.
pub const BUILT: Level = if cfg!(all(target_os = "none", not(feature = "text-log"))) {
    built(option_env!("DEFMT_LOG"))
} else {
    Level::Trace
};

/// Whether lines of this level are compiled in.
#[doc(hidden)]
#[inline(always)]
pub const fn is_built(level: Level) -> bool {
    level as u8 <= BUILT as u8
}

const fn built(words: Option<&str>) -> Level {
    match words {
        // defmt's default.
        None => Level::Error,
        Some(words) => match words.as_bytes() {
            b"error" => Level::Error,
            b"warn" => Level::Warn,
            b"info" => Level::Info,
            b"debug" => Level::Debug,
            _ => Level::Trace,
        },
    }
}

/// What is logged of a module and those inside it. Of several that fit the longest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its path, such as `unikernel_net::tcp`; empty for all that have no rule of their own.
    pub module: String,
    /// The most detailed level that is logged; `None`: nothing.
    pub level: Option<Level>,
}

/// Why a rule was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// There are [`RULES_MAX`] already.
    TooMany,
    /// It is no path of a module.
    NoModule,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::TooMany => write!(f, "there are {RULES_MAX} rules already; take one back first"),
            RuleError::NoModule => f.write_str("a module is a path such as `unikernel_net::tcp`, or empty for all"),
        }
    }
}

impl core::error::Error for RuleError {}

/// Whether there was ever a rule.
static HAS_RULES: AtomicBool = AtomicBool::new(false);

/// Logs of `module`, and of those inside it, what is not more detailed than `level`. A level beyond [`BUILT`] is taken, and
/// shows up in [`rules`]; the lines that it asks for are not in the image.
///
/// # Errors
///
/// See [`RuleError`].
pub fn set(module: &str, level: Option<Level>) -> Result<(), RuleError> {
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    if module.len() > MODULE_LEN_MAX || !module.bytes().all(is_path) {
        return Err(RuleError::NoModule);
    }
    let new = Rule { module: module.into(), level };
    with_core(|core| {
        let mut rules = core.log_rules.borrow_mut();
        match rules.iter().position(|rule| rule.module == module) {
            Some(place) => rules[place] = new,
            None if rules.len() >= RULES_MAX => return Err(RuleError::TooMany),
            None => rules.push(new),
        }
        HAS_RULES.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// Takes the rule of `module` back.
pub fn clear(module: &str) {
    with_core(|core| core.log_rules.borrow_mut().retain(|rule| rule.module != module));
}

/// The rules in force.
pub fn rules() -> Vec<Rule> {
    with_core(|core| core.log_rules.borrow().clone())
}

/// Whether lines of this level and module are logged.
#[inline(always)]
pub fn is_on(level: Level, module: &str) -> bool {
    !HAS_RULES.load(Ordering::Relaxed) || look(level, module)
}

#[cold]
fn look(level: Level, module: &str) -> bool {
    // While the rules change nothing is withheld: memory that runs out is logged.
    with_core(|core| core.log_rules.try_borrow().map_or(true, |rules| allows(&rules, level, module)))
}

fn allows(rules: &[Rule], level: Level, module: &str) -> bool {
    let fitting = rules.iter().filter(|rule| is_inside(module, &rule.module));
    let rule = fitting.max_by_key(|rule| rule.module.len());
    rule.is_none_or(|rule| rule.level.is_some_and(|most| level <= most))
}

fn is_inside(module: &str, outer: &str) -> bool {
    match module.strip_prefix(outer) {
        Some(rest) => outer.is_empty() || rest.is_empty() || rest.starts_with("::"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec};

    /// Rules as `module=level`, separated by commas.
    fn check(rules: &str, module: &str, expected: &str) {
        let level = |name: &str| name.parse().ok();
        let rule = |(module, name): (&str, &str)| Rule { module: module.into(), level: level(name) };
        let rules: Vec<_> = rules.split(',').filter_map(|rule| rule.split_once('=')).map(rule).collect();
        let on = Level::ALL.into_iter().rfind(|level| allows(&rules, *level, module));
        assert_eq!(on, level(expected), "{rules:?} {module}");
    }

    #[test]
    fn the_longest_rule_counts() {
        for (rules, module, expected) in [
            ("", "a", "trace"),
            ("=warn", "a", "warn"),
            ("a=info", "a", "info"),
            ("a=info", "a::b", "info"),
            ("a=info", "ab", "trace"),
            ("a=info", "b", "trace"),
            ("=off,a::b=debug,a=error", "a::b::c", "debug"),
            ("=off,a::b=debug,a=error", "a::c", "error"),
            ("=off,a::b=debug,a=error", "c", "off"),
        ] {
            check(rules, module, expected);
        }
    }

    #[test]
    fn rules_come_and_go() {
        crate::sim::run("", async {
            assert_eq!(rules(), vec![]);
            set("a", Some(Level::Info)).unwrap();
            set("a", None).unwrap();
            assert_eq!(rules(), vec![Rule { module: "a".into(), level: None }]);
            assert!(!is_on(Level::Error, "a") && is_on(Level::Trace, "b"));
            clear("a");
            assert!(is_on(Level::Trace, "a"));
            assert_eq!(set("a b", None), Err(RuleError::NoModule));
            (0..RULES_MAX).for_each(|number| set(&format!("m{number}"), None).unwrap());
            assert_eq!(set("one_more", None), Err(RuleError::TooMany));
            assert_eq!(set("m0", Some(Level::Warn)), Ok(()), "it has a place");
        });
    }

    #[test]
    fn the_level_of_the_build() {
        for (words, expected) in [
            (None, Level::Error),
            (Some("info"), Level::Info),
            (Some("debug"), Level::Debug),
            (Some("info,my_app=trace"), Level::Trace),
        ] {
            assert_eq!(built(words), expected, "{words:?}");
        }
    }
}
