//! Crash reports: the addresses of a backtrace get their function and line.
//!
//! A report is plain text, written by an image that trusts nothing any more:
//! ```text
//! unikernel: backtrace
//! unikernel:   0x0000000000104a31
//! unikernel: end of report
//! ```

use crate::symbols::Symbols;

const BACKTRACE: &str = "unikernel: backtrace";
const END: &str = "unikernel: end of report";

/// Follows the lines of a console.
pub struct Reports {
    symbols: Symbols,
    build_id: Option<String>,
    /// Inside a backtrace: how many addresses came before.
    depth: Option<usize>,
    /// The report is about a CPU exception, so the first address is the faulting instruction itself.
    is_fault: bool,
}

impl Reports {
    /// For the image with these symbols; `build_id` in hex, where the ELF has one.
    pub fn new(symbols: Symbols, build_id: Option<String>) -> Reports {
        Reports { symbols, build_id, depth: None, is_fault: false }
    }

    /// The lines to show for this line.
    pub fn annotate(&mut self, line: &str) -> Vec<String> {
        let mut lines = vec![line.to_owned()];
        if line == BACKTRACE {
            self.depth = Some(0);
        } else if line == END {
            (self.depth, self.is_fault) = (None, false);
        } else if line.starts_with("unikernel: ") && line.contains(" (vector ") {
            self.is_fault = true;
        } else if let Some((depth, address)) = self.depth.zip(address(line)) {
            lines = self.frames(depth, address);
            self.depth = Some(depth + 1);
        } else if let Some(id) = line.split_once(", build ").filter(|_| line.starts_with("unikernel: ")) {
            lines.extend(self.foreign(id.1));
        }
        lines
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
        let reported = reported.split([',', ' ']).next().unwrap_or_default();
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

    #[test]
    fn another_build_is_pointed_out() {
        let line = "unikernel: task 3, build 0123456789abcdef".to_owned();
        assert_eq!(annotate(Some("0123456789abcdef"), std::slice::from_ref(&line)).len(), 1);
        let shown = annotate(Some("ffff"), &[line]);
        assert_eq!(shown[1], "unikernel: the ELF given is build ffff: names and lines below may be wrong");
    }
}
