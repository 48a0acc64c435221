//! What a QEMU process uses, as Linux tells it (proc(5)).

use std::fs;

use anyhow::{Context, Result};

use crate::instance::{Name, provider::Usage};

/// Asks the kernel about this process.
pub fn of(name: &Name, pid: u32, up_seconds: u64) -> Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}; has `{name}` just ended?"))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat has an unknown format")?;
    let resident_kib = number(&status, "VmRSS:").context("/proc/PID/status has no VmRSS")?;
    let threads = number(&status, "Threads:").context("/proc/PID/status has no Threads")?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let (name, cpu_seconds, resident_bytes) = (name.clone(), ticks as f64 / per_second, resident_kib * 1024);
    Ok(Usage { name, up_seconds, cpu_seconds, resident_bytes, threads, pid })
}

/// Fields 14 and 15, in user mode and in the kernel. The second, a name in brackets, may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 123 45 0 0 20 0 1 0 99 0 0";
        assert_eq!((cpu_ticks(stat), cpu_ticks("7 (a"), cpu_ticks("7 (a) S 1")), (Some(168), None, None));
        assert_eq!(number("Name:\tx\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2048));
        assert_eq!(number("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn a_process_that_works_uses_something() {
        let name: Name = "web".parse().unwrap();
        let usage = of(&name, std::process::id(), 3).unwrap();
        assert!(usage.resident_bytes > 1 << 20 && usage.threads > 0 && usage.up_seconds == 3, "{usage:?}");
        // No process has this id: Linux' largest is 2^22.
        assert!(of(&name, 99_999_999, 3).unwrap_err().to_string().contains("has `web` just ended?"));
    }
}
