//! What the protections cost: a request with each turned off, in an image that can do that.

use super::{Bench, load_address};
use crate::cases;
use crate::load;
use crate::project::Variant;
use crate::report::Side;
use crate::vm::Guest;
use crate::{Result, error};

/// Their names in the boot argument `unprotected`.
const NAMES: [&str; 8] = ["no-execute", "read-only", "null-page", "stack-guard", "layout", "heap", "cpu", "watchdog"];

/// The load that is measured.
const CASE: &str = "hello64";

impl Bench<'_> {
    /// Instructions for a request: as shipped, without each protection, and without all.
    pub(super) fn protections(&mut self) -> Result {
        self.protection("shipped", self.project.image("bench-site"), "")?;
        let unprotected = self.project.variant(&Variant::UNPROTECTED);
        self.protection("on", unprotected.clone(), "")?;
        for name in NAMES {
            self.protection(name, unprotected.clone(), &format!(" unprotected={name}"))?;
        }
        let unchecked = self.project.variant(&Variant::UNCHECKED);
        self.protection("overflow-checks", unchecked.clone(), "")?;
        self.protection("none", unchecked, &format!(" unprotected={}", NAMES.join(",")))
    }

    fn protection(&mut self, id: &str, image: std::path::PathBuf, arguments: &str) -> Result {
        let guest = self.ours();
        let guest = Guest { kernel: image, arguments: guest.arguments.clone() + arguments, ..guest };
        let case = cases::load_case(CASE).ok_or_else(|| error("there is no such case"))?;
        let vm = self.serving(&guest)?;
        let outcome = load::run(&vm, load_address(&guest, &case.load), &case.load, self.span())?;
        self.report.add(Side::Ours, &format!("protections.{id}"), outcome.instructions_per_answer());
        Ok(())
    }
}
