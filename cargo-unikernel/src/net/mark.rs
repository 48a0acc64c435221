//! Whose an interface is: written to its alias, where it lives as long as the interface and everybody can read it.

use std::{fs, process};

/// All of ours begin so.
const OURS: &str = "cargo-unikernel";

/// Whose an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Not ours.
    Foreign,
    /// It stays until somebody removes it.
    Kept,
    /// It goes with the last that uses it.
    Shared,
    /// It goes with a process.
    Of {
        /// Its number.
        pid: u32,
        /// When it began, which tells it from another one of this number.
        start: u64,
    },
}

impl Mark {
    /// This process's.
    pub fn own() -> Mark {
        let pid = process::id();
        Mark::Of { pid, start: start_of(pid).unwrap_or(0) }
    }

    /// What an alias says.
    pub fn of(alias: &str) -> Mark {
        let mut words = alias.split(' ');
        let words = [words.next(), words.next(), words.next()];
        match words {
            [Some(OURS), Some("kept"), None] => Mark::Kept,
            [Some(OURS), Some("shared"), None] => Mark::Shared,
            [Some(OURS), Some(pid), Some(start)] => {
                let numbers = pid.parse().ok().zip(start.parse().ok());
                numbers.map_or(Mark::Foreign, |(pid, start)| Mark::Of { pid, start })
            }
            _ => Mark::Foreign,
        }
    }

    /// The alias.
    pub fn alias(&self) -> String {
        match self {
            Mark::Foreign => String::new(),
            Mark::Kept => format!("{OURS} kept"),
            Mark::Shared => format!("{OURS} shared"),
            Mark::Of { pid, start } => format!("{OURS} {pid} {start}"),
        }
    }

    /// Whose process has ended.
    pub fn is_dead(&self) -> bool {
        matches!(self, Mark::Of { pid, start } if start_of(*pid) != Some(*start))
    }
}

/// When a process began, in ticks since the start of this computer: the 22nd word of proc_pid_stat(5). None if it has ended.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second word may have blanks and brackets in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    (!state.starts_with(['Z', 'X'])).then(|| words.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_mark() {
        let own = Mark::own();
        assert!(!own.is_dead());
        for mark in [Mark::Kept, Mark::Shared, own] {
            assert_eq!(Mark::of(&mark.alias()), mark);
        }
        let check = |alias: &str, expected: Mark| assert_eq!(Mark::of(alias), expected, "{alias}");
        check("", Mark::Foreign);
        check("uplink to the office", Mark::Foreign);
        check("cargo-unikernel", Mark::Foreign);
        check("cargo-unikernel 1 x", Mark::Foreign);
        check("cargo-unikernel 12 345", Mark::Of { pid: 12, start: 345 });
    }

    #[test]
    fn another_process_of_the_same_number_is_not_the_owner() {
        let Mark::Of { pid, start } = Mark::own() else { panic!() };
        assert!(Mark::Of { pid, start: start + 1 }.is_dead());
        // Linux has no number above 2^22.
        assert!(Mark::Of { pid: 99_999_999, start }.is_dead());
        assert!(!Mark::Kept.is_dead() && !Mark::Foreign.is_dead());
    }
}
