//! The protections of this boot, looked up; and the lines of the boot argument `report`.

use super::{
    memory::{self, Stack},
    serial::console_line,
    start_info::StartInfo,
    unprotected::{Protection, is_off},
};
use crate::{Error, Result, args, protection::Protections};
use alloc::{format, string::String};
use x86_64::registers::{
    control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
    model_specific::{Efer, EferFlags},
};

pub(crate) fn protections() -> Protections {
    let (cr4, pages) = (Cr4::read(), memory::pages());
    Protections {
        no_execute: Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE),
        write_protect: Cr0::read().contains(Cr0Flags::WRITE_PROTECT),
        smep: cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        smap: cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        umip: cr4.contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        write_xor_execute: pages.writable_executable == 0,
        null_page: pages.low == 0,
        stack_guards: pages.guards == 0,
        random_layout: !is_off(Protection::Layout),
        checked_heap: !is_off(Protection::Heap),
    }
}

/// Prints what the boot argument `report` asks for: a list of `layout` and `protections`.
pub(super) fn report(info: &StartInfo) -> Result {
    let wanted: String = args::take("report")?.unwrap_or_default();
    for word in wanted.split(',').filter(|word| !word.is_empty()) {
        match word {
            "layout" => report_layout(info),
            "protections" => report_protections(),
            _ => {
                return Err(Error::msg(format!(
                    "boot argument `report={wanted}`: write `layout`, `protections`, or both, with a comma"
                )));
            }
        }
    }
    Ok(())
}

fn report_layout(info: &StartInfo) {
    let (image, heap) = (memory::image().start, memory::heap_start(info));
    let stack = memory::stack(Stack::Main).end;
    console_line(format_args!("layout image={image:#x} heap={heap:#x} stack={stack:#x}"));
}

fn report_protections() {
    let pages = memory::pages();
    console_line(format_args!("protections {}", protections()));
    console_line(format_args!(
        "pages mapped={} executable={} writable-and-executable={} below-64K={} in-guards={}",
        pages.mapped, pages.executable, pages.writable_executable, pages.low, pages.guards
    ));
}
