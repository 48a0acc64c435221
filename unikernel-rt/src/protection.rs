//! What protects the machine from its own mistakes, as the CPU and the page tables say it: looked up, not remembered.

use crate::platform;
use core::fmt;

/// The protections of this machine. The book's page on security says what each is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protections {
    /// Pages can forbid that code runs from them (EFER.NXE).
    pub no_execute: bool,
    /// Read-only pages are read-only for the kernel, which everything here is (CR0.WP).
    pub write_protect: bool,
    /// Code of user pages does not run (CR4.SMEP).
    pub smep: bool,
    /// Data of user pages are not touched (CR4.SMAP).
    pub smap: bool,
    /// User code could not ask where tables are (CR4.UMIP).
    pub umip: bool,
    /// No page may be both written and run.
    pub write_xor_execute: bool,
    /// Below 64 KiB nothing is mapped.
    pub null_page: bool,
    /// Below each stack a page is not mapped.
    pub stack_guards: bool,
    /// Image, heap and stacks are at addresses of this boot.
    pub random_layout: bool,
    /// The heap dies of what a program must not do to it.
    pub checked_heap: bool,
}

impl Protections {
    /// Each with its name.
    pub fn list(&self) -> [(&'static str, bool); 10] {
        [
            ("no-execute", self.no_execute),
            ("write-protect", self.write_protect),
            ("smep", self.smep),
            ("smap", self.smap),
            ("umip", self.umip),
            ("write-xor-execute", self.write_xor_execute),
            ("null-page", self.null_page),
            ("stack-guards", self.stack_guards),
            ("random-layout", self.random_layout),
            ("checked-heap", self.checked_heap),
        ]
    }
}

/// Names of what is on, then of what is off.
impl fmt::Display for Protections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, _) in self.list().iter().filter(|(_, on)| *on) {
            write!(f, "{name} ")?;
        }
        f.write_str("off:")?;
        for (name, _) in self.list().iter().filter(|(_, on)| !*on) {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// Looks at the CPU's registers and walks the page tables: microseconds, and more the more memory there is.
///
/// A hosted program has the protections of its host; this says that there are none.
pub fn status() -> Protections {
    platform::protections()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_on_and_what_is_off() {
        let mut protections = Protections { smep: true, null_page: true, ..Protections::default() };
        let text = protections.to_string();
        assert!(text.starts_with("smep null-page off: no-execute write-protect"), "{text}");
        protections = Protections { no_execute: true, ..protections };
        assert!(protections.to_string().starts_with("no-execute smep null-page off: write-protect"));
        assert_eq!(status(), Protections::default());
    }
}
