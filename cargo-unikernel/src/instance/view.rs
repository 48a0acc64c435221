//! How instances are shown.

use serde::Serialize;

use super::{
    local::record::now_ms,
    provider::{State, Summary, Usage},
};
use crate::inspect::table::{Align, Table};

/// As a table, one line each.
pub fn table(summaries: &[Summary]) -> String {
    let left = |title| (title, Align::Left);
    let titles = ["NAME", "STATE", "UP", "IMAGE", "PORTS"].map(left);
    let mut table = Table::new(&[&titles[..], &[("RESTARTS", Align::Right), left("ENDED")]].concat());
    let now = now_ms();
    for summary in summaries {
        let ports: Vec<String> =
            summary.ports.iter().map(ToString::to_string).chain(summary.addresses.clone()).collect();
        table.push([
            summary.name.to_string(),
            summary.state.word().into(),
            summary.up_seconds.map(time).unwrap_or_default(),
            summary.image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ports.join(","),
            summary.restarts.to_string(),
            ended(summary, now),
        ]);
    }
    table.text()
}

fn ended(summary: &Summary, now_ms: u64) -> String {
    match (&summary.problem, &summary.ended) {
        (Some(problem), _) => problem.clone(),
        (None, Some(ended)) => format!("{} ago: {}", time(now_ms.saturating_sub(ended.at_ms) / 1000), ended.words),
        (None, None) => String::new(),
    }
}

/// What a command says about the one instance it was about.
pub fn sentence(summary: &Summary) -> String {
    let Summary { name, state, ports, .. } = summary;
    let forwarded = ports.iter().map(|port| format!("{} leads to its port {}", port.place(), port.guest));
    let addresses: Vec<String> =
        forwarded.chain(summary.addresses.iter().map(|address| format!("its address is {address}"))).collect();
    match (state, &summary.ended) {
        (State::Running, _) if !addresses.is_empty() => format!("{name}: running; {}", addresses.join(", ")),
        (State::Stopped | State::Ended | State::Restarting, Some(ended)) => {
            format!("{name}: {}; {}", state.word(), ended.words)
        }
        _ => format!("{name}: {}", state.word()),
    }
}

/// What several instances use.
pub fn usage_table(usages: &[Usage]) -> String {
    let right = |title| (title, Align::Right);
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        right("UP"),
        right("CPU"),
        right("MEMORY"),
        right("THREADS"),
        right("PID"),
    ]);
    for usage in usages {
        table.push([
            usage.name.to_string(),
            time(usage.up_seconds),
            format!("{:.2} s", usage.cpu_seconds),
            format!("{} MiB", usage.resident_bytes >> 20),
            usage.threads.to_string(),
            usage.pid.to_string(),
        ]);
    }
    table.text()
}

/// For programs.
pub fn json(value: &impl Serialize) -> String {
    // Names and paths that are no UTF-8 were refused when they came in.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A time in its two largest units.
pub(crate) fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{Restart, provider::Ended};

    fn summary(name: &str, state: State) -> Summary {
        Summary {
            name: name.parse().unwrap(),
            provider: "local",
            state,
            problem: None,
            up_seconds: None,
            image: "/a/hello.elf".into(),
            ports: Vec::new(),
            addresses: Vec::new(),
            restarts: 0,
            ended: None,
            restart: Restart::Never,
            memory: Some("64M".into()),
            machine: "q35".into(),
            pid: None,
            folder: Some("/s/web".into()),
            id: None,
        }
    }

    #[test]
    fn a_table_and_a_sentence() {
        let ports = vec!["8080:80".parse().unwrap(), "0.0.0.0:5353:53/udp".parse().unwrap()];
        let running = Summary { up_seconds: Some(125), ports, ..summary("web", State::Running) };
        let ended = Ended { code: 101, words: "the app panicked (exit code 101)".into(), at_ms: now_ms() - 3_600_500 };
        let ended = Summary { restarts: 3, ended: Some(ended), ..summary("b", State::Ended) };
        let damaged = Summary { problem: Some("no".into()), image: "".into(), ..summary("c", State::Damaged) };
        assert_eq!(
            table(&[running.clone(), ended.clone(), damaged]),
            "NAME  STATE    UP     IMAGE      PORTS                        RESTARTS  ENDED\n\
             web   running  2m05s  hello.elf  8080:80,0.0.0.0:5353:53/udp         0\n\
             b     ended           hello.elf                                      3  1h00m ago: the app panicked (exit code 101)\n\
             c     damaged                                                        0  no\n"
        );
        assert_eq!(
            sentence(&running),
            "web: running; localhost:8080 leads to its port 80, 0.0.0.0:5353/udp leads to its port 53"
        );
        assert_eq!(sentence(&ended), "b: ended; the app panicked (exit code 101)");
        assert_eq!(sentence(&summary("d", State::Dead)), "d: dead");
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (7_265, "2h01m"), (90_000, "1d01h")] {
            assert_eq!(time(seconds), expected);
        }
    }

    #[test]
    fn json_has_names_and_numbers() {
        let text = json(&[summary("web", State::Running)]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value[0]["name"], &value[0]["state"]), (&"web".into(), &"running".into()));
        assert_eq!((&value[0]["restart"], &value[0]["restarts"]), (&"never".into(), &0.into()));
    }
}
