//! How a VM ended, in words and as the exit code of the runner.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

/// The end of a VM. `Display` gives the last line of the runner; success has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest named an exit code (0 is success).
    Guest(u8),
    /// The guest halted after a crash instead of ending with this exit code, and was ended.
    Halted(u8),
    /// QEMU ended in order, but the guest named no code: it reset or powered off.
    Reset,
    /// QEMU itself failed with this status; its reason is on stderr.
    Qemu(i32),
    /// Somebody else killed QEMU with this signal.
    Killed(i32),
    /// The runner was asked to stop by this signal.
    Stopped(i32),
    /// The VM was still running when its time was over.
    TimedOut(Duration),
    /// Nobody reads the runner's output any more.
    Unheard,
}

impl Ending {
    /// Reads QEMU's exit status. `complained`: QEMU printed an error, and the guest never printed anything.
    ///
    /// `isa-debug-exit` turns guest code `c` into status `c << 1 | 1`, so 1 is either a guest's success or
    /// QEMU refusing its arguments; only the complaint tells them apart.
    pub fn of(status: ExitStatus, complained: bool) -> Ending {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ending::Reset,
            (Some(1), _) if complained => Ending::Qemu(1),
            (Some(code), _) if code & 1 == 1 => Ending::Guest((code >> 1) as u8),
            (Some(code), _) => Ending::Qemu(code),
            (None, signal) => Ending::Killed(signal.unwrap_or_default()),
        }
    }

    /// The exit code of the runner: the guest's own, or one as a shell or `timeout` would give.
    pub fn code(self) -> u8 {
        match self {
            Ending::Guest(code) | Ending::Halted(code) => code,
            Ending::Reset => 102,
            Ending::Qemu(_) => 125,
            Ending::Killed(signal) | Ending::Stopped(signal) => 128u8.wrapping_add(signal as u8),
            Ending::TimedOut(_) => 124,
            Ending::Unheard => 141,
        }
    }

    /// The guest ended with the report of a crash.
    pub fn is_crash(self) -> bool {
        matches!(self, Ending::Guest(101..=103 | 105) | Ending::Halted(_))
    }

    /// Nothing needs to be said about it.
    pub fn is_silent(self) -> bool {
        matches!(self, Ending::Guest(0) | Ending::Unheard)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Ending::Guest(guest) | Ending::Halted(guest) => write!(f, "{} (exit code {code})", guest_words(*guest)),
            Ending::Reset => write!(
                f,
                "the machine reset or powered off without naming an exit code, most likely a triple fault \
                 (exit code {code}); `UNIKERNEL_QEMU_ARGS='-d int,cpu_reset'` shows the CPU's last steps"
            ),
            Ending::Qemu(status) => {
                write!(f, "QEMU failed with status {status}, see its message above (exit code {code})")
            }
            Ending::Killed(signal) => write!(f, "QEMU was killed by signal {signal} (exit code {code})"),
            Ending::Stopped(_) => write!(f, "stopped"),
            Ending::TimedOut(limit) => write!(
                f,
                "not finished after {} s and stopped (exit code {code}); `--timeout SECONDS` gives it more",
                limit.as_secs_f64()
            ),
            Ending::Unheard => Ok(()),
        }
    }
}

fn guest_words(code: u8) -> &'static str {
    match code {
        0 => "the app ended",
        1 => "the app's main returned an error",
        2 => "the app could not start",
        101 => "the app panicked",
        102 => "the CPU reported a fault",
        103 => "the app ran out of memory",
        104 => "a test failed",
        105 => "a task ran for too long without waiting",
        106 => "the app did not stop in time",
        _ => "the app ended itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: i32, complained: bool, code: u8, words: &str) {
        let ending = Ending::of(ExitStatus::from_raw(raw), complained);
        assert_eq!(ending.code(), code);
        assert!(ending.to_string().contains(words), "{ending}");
    }

    /// Wait statuses carry an exit code in the second byte and a signal in the first.
    #[test]
    fn a_status_becomes_words() {
        check(1 << 8, false, 0, "ended");
        check(1 << 8, true, 125, "QEMU failed");
        check(3 << 8, true, 1, "main returned an error");
        check(5 << 8, false, 2, "could not start");
        check(203 << 8, false, 101, "panicked");
        check(205 << 8, false, 102, "fault");
        check(207 << 8, false, 103, "out of memory");
        check(209 << 8, false, 104, "a test failed");
        check(211 << 8, false, 105, "without waiting");
        check(213 << 8, false, 106, "did not stop in time");
        check(15 << 8, false, 7, "ended itself (exit code 7)");
        check(0, false, 102, "triple fault");
        check(2 << 8, false, 125, "QEMU failed with status 2");
        check(9, false, 137, "signal 9");
    }

    #[test]
    fn only_success_is_silent() {
        assert!(Ending::Guest(0).is_silent());
        assert!(!Ending::Guest(1).is_silent());
    }
}
