//! Crash reports: the addresses of a backtrace get their function and line, and the last report is remembered.
//!
//! A report is plain text, written by an image that trusts nothing any more; log lines in it are as they were:
//! ```text
//! unikernel: panic at src/main.rs:10:5: asked to
//! unikernel: in task 3
//! unikernel: build 8c3f…
//! unikernel: backtrace
//! unikernel:   0x0000000000104a31
//! unikernel: the last log lines
//! unikernel: end of the log lines
//! unikernel: end of report
//! ```

use crate::symbols::Symbols;

const HEADS: [&str; 3] = ["unikernel: panic", "unikernel: out of memory", "unikernel: hang"];
const BUILD: &str = "unikernel: build ";
const BACKTRACE: &str = "unikernel: backtrace";
const LOG: &str = "unikernel: the last log lines";
const LOG_END: &str = "unikernel: end of the log lines";
const SURVIVED: &str = "unikernel: the machine goes on";
const END: &str = "unikernel: end of report";
/// What the machine says after a report, about what it does now.
const STARTS_AGAIN: &str = "unikernel: starting again";
const HALTED: &str = "unikernel: halted";
const AFTER: [&str; 3] = [STARTS_AGAIN, "unikernel: not starting again", HALTED];

/// So many lines of a report are remembered.
const REPORT_LEN_MAX: usize = 10_000;

/// Follows the lines of a console.
pub struct Reports {
    symbols: Symbols,
    build_id: Option<String>,
    place: Place,
    /// Inside a backtrace: how many addresses came before.
    depth: Option<usize>,
    /// The report is about a CPU exception, so the first address is the faulting instruction itself.
    is_fault: bool,
    last: Vec<String>,
    /// The machine went on after the last report.
    is_survived: bool,
    restarts: usize,
    /// The exit code that the machine would have had that halted instead.
    halted: Option<u8>,
}

/// Where in a report the last line was.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    /// The last report was of a crash, and no other line came after it.
    After,
    Report,
    Log,
}

impl Reports {
    /// For the image with these symbols; `build_id` in hex, where the ELF has one.
    pub fn new(symbols: Symbols, build_id: Option<String>) -> Reports {
        let place = Place::Outside;
        Reports {
            symbols,
            build_id,
            place,
            depth: None,
            is_fault: false,
            last: Vec::new(),
            is_survived: false,
            restarts: 0,
            halted: None,
        }
    }

    /// The lines to show for this line of text.
    pub fn annotate(&mut self, line: &str) -> Vec<String> {
        self.follow(line);
        let mut lines = vec![line.to_owned()];
        if self.place == Place::Log && line != LOG {
            lines = vec![format!("unikernel:   | {line}")];
        } else if line == BACKTRACE {
            self.depth = Some(0);
        } else if let Some((depth, address)) = self.depth.zip(address(line)) {
            lines = self.frames(depth, address);
            self.depth = Some(depth + 1);
        } else if let Some(id) = line.strip_prefix(BUILD) {
            lines.extend(self.foreign(id));
        }
        self.remember(&lines);
        lines
    }

    /// The line to show for a decoded log line.
    pub fn log_line(&mut self, line: String) -> String {
        self.follow("");
        let line = if self.place == Place::Log { format!("unikernel:   | {line}") } else { line };
        self.remember(std::slice::from_ref(&line));
        line
    }

    /// The report of the last crash, if something else was said after it.
    pub fn said_before_the_end(&self) -> &[String] {
        if self.place == Place::Outside && !self.is_survived { &self.last } else { &[] }
    }

    /// How often the machine has crashed and started again.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// The exit code of a machine that has halted after its report.
    pub fn halted(&self) -> Option<u8> {
        self.halted
    }

    /// The exit code that goes with the last report.
    fn exit_code(&self) -> u8 {
        let head = self.last.first().map_or("", String::as_str);
        let codes = HEADS.iter().zip([101, 103, 105]);
        codes.filter(|(words, _)| head.starts_with(**words)).map(|(_, code)| code).next().unwrap_or(102)
    }

    fn follow(&mut self, line: &str) {
        let is_fault = line.starts_with("unikernel: ") && line.contains(" (vector ");
        // In a hang, too, the first address is that of an instruction.
        let is_fault = is_fault || line.starts_with(HEADS[2]);
        let is_head = is_fault || HEADS.iter().any(|head| line.starts_with(head));
        if self.place == Place::After && line.starts_with(HALTED) {
            self.halted = Some(self.exit_code());
        }
        self.restarts += usize::from(line.starts_with(STARTS_AGAIN));
        self.is_survived |= self.place == Place::Report && line == SURVIVED;
        self.place = match (self.place, line) {
            (Place::Log, LOG_END) => Place::Report,
            (Place::Log, _) => Place::Log,
            (Place::Report, LOG) => Place::Log,
            (Place::Report, END) => Place::After,
            (Place::Outside | Place::After, _) if is_head => {
                (self.is_fault, self.is_survived, self.depth) = (is_fault, false, None);
                self.last.clear();
                Place::Report
            }
            (Place::After, line) if !AFTER.iter().any(|after| line.starts_with(after)) => Place::Outside,
            (place, _) => place,
        };
        if matches!(self.place, Place::Log | Place::After) || line == END {
            self.depth = None;
        }
    }

    fn remember(&mut self, lines: &[String]) {
        // A machine may say what begins like a report and has no end.
        if self.place != Place::Outside && self.last.len() < REPORT_LEN_MAX {
            self.last.extend_from_slice(lines);
        }
    }

    fn frames(&self, depth: usize, address: u64) -> Vec<String> {
        // A return address is after the call: perhaps on another line, or past the end of the function.
        let is_exact = depth == 0 && self.is_fault;
        let probe = if is_exact { address } else { address.wrapping_sub(1) };
        let frames = self.symbols.frames(probe);
        let text = |(index, frame): (usize, String)| match index {
            0 => format!("unikernel: {depth:>3}: {address:#x} {frame}"),
            _ => format!("unikernel:      inlined into {frame}"),
        };
        if frames.is_empty() {
            return vec![format!("unikernel: {depth:>3}: {address:#x} (not in this image)")];
        }
        frames.into_iter().enumerate().map(text).collect()
    }

    fn foreign(&self, reported: &str) -> Option<String> {
        let reported = reported.trim();
        let own = self.build_id.as_deref()?;
        let same = !reported.is_empty() && (own.starts_with(reported) || reported.starts_with(own));
        (!same).then(|| format!("unikernel: the ELF given is build {own}: names and lines below may be wrong"))
    }
}

fn address(line: &str) -> Option<u64> {
    let digits = line.strip_prefix("unikernel:")?.trim().strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSymbol};
    use std::{env, fs, path::Path};

    #[inline(never)]
    fn a_function_to_be_found(zero: u32) -> u32 {
        std::hint::black_box(zero) + line!() - 1
    }

    /// The test binary is a real ELF with line tables; the link-time address comes from its symbol table.
    fn own_address() -> u64 {
        let bytes = fs::read(env::current_exe().unwrap()).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let mut symbols = file.symbols();
        symbols
            .find(|symbol| symbol.name().is_ok_and(|name| name.contains("a_function_to_be_found")))
            .unwrap()
            .address()
    }

    fn annotate(id: Option<&str>, lines: &[String]) -> Vec<String> {
        let own = env::current_exe().unwrap();
        let symbols = Symbols::new(&own, &fs::read(&own).unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).parent());
        let mut reports = Reports::new(symbols, id.map(str::to_owned));
        lines.iter().flat_map(|line| reports.annotate(line)).collect()
    }

    #[test]
    fn an_address_becomes_function_and_line() {
        let address = own_address();
        let name = "cargo_unikernel::console::report::tests::a_function_to_be_found";
        let place = format!("cargo-unikernel/src/console/report.rs:{}", a_function_to_be_found(0));
        for (head, first, second) in [
            ("panic at x.rs:1:1: no", address + 1, address + 1),
            ("page fault (vector 14, error 0x2)", address, address + 1),
        ] {
            let lines = [format!("unikernel: {head}"), BACKTRACE.into(), hex(first), hex(second), END.into()];
            let shown = annotate(None, &lines);
            assert!(shown[2].starts_with(&format!("unikernel:   0: {first:#x} {name} at {place}:")), "{shown:#?}");
            assert!(shown[3].starts_with(&format!("unikernel:   1: {second:#x} {name} at {place}:")), "{shown:#?}");
            assert_eq!(shown.len(), lines.len());
        }
    }

    fn hex(address: u64) -> String {
        format!("unikernel:   {address:#018x}")
    }

    #[test]
    fn addresses_elsewhere_stay_as_they_are() {
        let line = "unikernel:   0x0000000000104a31".to_owned();
        assert_eq!(annotate(None, std::slice::from_ref(&line)), std::slice::from_ref(&line));
        let shown = annotate(None, &[BACKTRACE.into(), "unikernel:   0x8".into(), END.into(), line.clone()]);
        assert_eq!(shown, [BACKTRACE, "unikernel:   0: 0x8 (not in this image)", END, &line]);
    }

    /// What is said after this, and what is repeated at the end.
    fn check(after: &str, repeated: usize) {
        let mut reports = Reports::new(Symbols::new(Path::new("/nonexistent"), &[], None), None);
        let lines = ["up", "unikernel: panic at x.rs:1:1: no", LOG, "unikernel: looks like one", LOG_END, END];
        let shown: Vec<_> = lines.iter().flat_map(|line| reports.annotate(line)).collect();
        assert_eq!(shown[3], "unikernel:   | unikernel: looks like one");
        after.lines().for_each(|line| drop(reports.annotate(line)));
        assert_eq!(reports.said_before_the_end().len(), repeated, "{after}");
    }

    #[test]
    fn a_report_that_is_not_last_is_repeated() {
        check("", 0);
        check("unikernel: halted, as on-crash=halt says", 0);
        check("bye", 5);
        check("unikernel: starting again, as on-crash=reboot says\nup", 6);
        check("up\nunikernel: panic: again\nunikernel: end of report", 0);
        // Of a supervised task nothing needs to be said again.
        check(&format!("up\nunikernel: panic: alone\n{SURVIVED}\n{END}\nup"), 0);
    }

    #[test]
    fn another_build_is_pointed_out() {
        let line = "unikernel: build 0123456789abcdef".to_owned();
        assert_eq!(annotate(Some("0123456789abcdef"), std::slice::from_ref(&line)).len(), 1);
        let shown = annotate(Some("ffff"), &[line]);
        assert_eq!(shown[1], "unikernel: the ELF given is build ffff: names and lines below may be wrong");
    }
}
