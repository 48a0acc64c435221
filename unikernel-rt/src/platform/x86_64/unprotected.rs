//! Protections that an image for tests may turn off, to show that its tests would notice: the boot argument
//! `unprotected=LIST`. Exists with the feature `unprotected` only; elsewhere everything is on, and nothing is asked.

/// A protection, by its name in the boot argument.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "unprotected"), allow(dead_code))]
pub(super) enum Protection {
    /// `no-execute`: data cannot run.
    NoExecute,
    /// `read-only`: instructions, constants and what was written at boot cannot be changed.
    ReadOnly,
    /// `null-page`: the first 64 KiB are not mapped.
    NullPage,
    /// `stack-guard`: what lies below a stack is not mapped.
    StackGuard,
    /// `layout`: each boot draws its addresses.
    Layout,
    /// `heap`: the heap checks what is freed.
    Heap,
    /// `cpu`: SMEP, SMAP, UMIP.
    Cpu,
    /// `watchdog`: a task that does not wait is noticed.
    Watchdog,
}

#[cfg(not(feature = "unprotected"))]
mod choice {
    use super::{super::start_info::StartInfo, Protection};

    pub(in super::super) fn init(_: &StartInfo) {}

    pub(in super::super) fn take_argument() -> crate::Result {
        Ok(())
    }

    #[inline(always)]
    pub(in super::super) fn is_off(_: Protection) -> bool {
        false
    }
}

#[cfg(feature = "unprotected")]
mod choice {
    use super::{
        super::{refuse, start_info::StartInfo},
        Protection::{self, *},
    };
    use core::sync::atomic::{AtomicU32, Ordering};

    const NAMES: [(&str, Protection); 8] = [
        ("no-execute", NoExecute),
        ("read-only", ReadOnly),
        ("null-page", NullPage),
        ("stack-guard", StackGuard),
        ("layout", Layout),
        ("heap", Heap),
        ("cpu", Cpu),
        ("watchdog", Watchdog),
    ];

    static OFF: AtomicU32 = AtomicU32::new(0);

    /// Reads the boot argument, before there is memory for the others.
    pub(in super::super) fn init(info: &StartInfo) {
        let line = info.command_line().unwrap_or_default();
        let lists = line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("unprotected="));
        for name in lists.flat_map(|list| list.split(',')) {
            let Some((_, protection)) = NAMES.iter().find(|(known, _)| *known == name) else {
                refuse(
                    "boot argument `unprotected`: write a list of no-execute, read-only, null-page, stack-guard, layout, heap, \
                     cpu, watchdog",
                )
            };
            OFF.fetch_or(1 << *protection as u32, Ordering::Relaxed);
        }
    }

    /// The argument is known, and its value was looked at.
    pub(in super::super) fn take_argument() -> crate::Result {
        crate::args::take::<alloc::string::String>("unprotected").map(|_| ())
    }

    pub(in super::super) fn is_off(protection: Protection) -> bool {
        OFF.load(Ordering::Relaxed) & 1 << protection as u32 != 0
    }
}

pub(super) use choice::{init, is_off, take_argument};
