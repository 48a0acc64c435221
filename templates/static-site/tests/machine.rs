//! In a virtual machine: `cargo unikernel test`.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the workstation there is no machine, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

use {{crate_name}}::SITE;

unikernel_rt::test_harness!();

#[unikernel_rt::test]
async fn the_files_are_in_the_image() {
    let page = SITE.get("index.html").expect("the page is in `site/`");
    assert!(page.starts_with(b"<!DOCTYPE html>"));
    for path in SITE.paths() {
        assert!(SITE.get(path).is_some_and(|bytes| !bytes.is_empty()));
    }
}
