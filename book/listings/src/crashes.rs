//! Listings of the page "When it crashes".

use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
};
use core::cell::Cell;
use unikernel_rt::crash;

/// Says in reports how many jobs wait.
// ANCHOR: section
pub fn tell_reports(waiting: Rc<Cell<usize>>) {
    crash::add_section("jobs", move |out| write!(out, "{} waiting", waiting.get()));
}
// ANCHOR_END: section

/// A line for whoever counts crashes.
// ANCHOR: previous
pub fn last_crash() -> String {
    match crash::previous() {
        Some(report) => format!("{} crashes, the last one: {}", crash::count(), report.kind),
        None => "started by somebody else".to_string(),
    }
}
// ANCHOR_END: previous

#[cfg(test)]
mod tests {
    use super::*;

    #[unikernel_rt::test]
    async fn a_section_says_what_is_so_now() {
        let waiting = Rc::new(Cell::new(1));
        tell_reports(waiting.clone());
        waiting.set(7);
        let mut text = String::new();
        crash::write_sections(&mut text).unwrap();
        assert_eq!(text, "jobs: 7 waiting\n");
        assert_eq!(last_crash(), "started by somebody else");
    }
}
