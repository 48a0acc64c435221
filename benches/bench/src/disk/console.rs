//! The console of a guest that works on its disk.

use std::thread;
use std::time::{Duration, Instant};

use super::work::FAILED;
use crate::vm::Vm;
use crate::{Result, error};

/// How often the console is looked at: a small part of the pauses that guests make.
const STEP: Duration = Duration::from_millis(2);

/// A guest's console.
pub struct Console<'vm> {
    vm: &'vm mut Vm,
}

/// The counter, and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Guest instructions.
    pub instructions: u64,
    /// When the guest's line was seen.
    pub at: Instant,
}

impl Console<'_> {
    /// That of this guest.
    pub fn new(vm: &mut Vm) -> Console<'_> {
        Console { vm }
    }

    /// Reads the counter after the guest has written `mark`, in the pause before it writes `next`.
    pub fn count_between(&mut self, mark: &str, next: &str, limit: Duration) -> Result<Reading> {
        self.line_with(mark, limit)?;
        let at = Instant::now();
        let instructions = self.vm.counts().instructions;
        if line_with(&self.text(), next).is_some() {
            return Err(error("this machine is too busy: the guest's pause was over before its counter was read"));
        }
        Ok(Reading { instructions, at })
    }

    /// Waits for the line with these words. What the guest says instead, if it fails, is the error.
    pub fn line_with(&mut self, words: &str, limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            // Asked first, since a guest may end right after the line.
            let ended = self.vm.ended()?;
            let text = self.text();
            if let Some(line) = line_with(&text, words) {
                return Ok(line.to_owned());
            }
            if let Some(line) = line_with(&text, FAILED) {
                return Err(error(line.trim()));
            }
            if let Some(status) = ended {
                return Err(self.vm.obituary(status));
            }
            if start.elapsed() > limit {
                let said = self.vm.last_words();
                return Err(error(format!("{words:?} did not come within {limit:?}; the console said:\n{said}")));
            }
            thread::sleep(STEP);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.vm.console()).into_owned()
    }
}

/// The first line with these words that is complete.
fn line_with<'text>(text: &'text str, words: &str) -> Option<&'text str> {
    let complete = &text[..=text.rfind('\n')?];
    complete.lines().find(|line| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<&str>) {
        assert_eq!(line_with(text, "disk: done"), want);
    }

    #[test]
    fn a_line() {
        check("boot\r\n  0.1 info  disk: done 1\r\n", Some("  0.1 info  disk: done 1"));
    }

    #[test]
    fn half_a_line() {
        check("boot\ndisk: done operat", None);
    }

    #[test]
    fn another_line() {
        check("disk: begin\n", None);
    }
}
