//! In a virtual machine: `cargo unikernel test`.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the workstation there is no machine, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

use {{crate_name}}::{NOTES_MAX, Notes};

unikernel_rt::test_harness!();

#[unikernel_rt::test]
async fn there_is_memory_for_all_notes() {
    let mut notes = Notes::default();
    for _ in 0..NOTES_MAX {
        let note = notes.add("a note of ordinary length, as people write them".into());
        assert!(note.is_some());
    }
    assert_eq!(notes.add("one more".into()), None);
    assert_eq!(notes.list().len(), NOTES_MAX);
}
