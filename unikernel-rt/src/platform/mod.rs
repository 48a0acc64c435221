//! What the runtime needs from the machine below it. The one place that decides which machine that is.

#[cfg(not(target_os = "none"))]
mod hosted;
#[cfg(target_os = "none")]
mod x86_64;

#[cfg(not(target_os = "none"))]
pub(crate) use hosted::*;
#[cfg(all(target_os = "none", feature = "selftest"))]
pub use x86_64::misuse;
#[cfg(target_os = "none")]
pub(crate) use x86_64::*;

use crate::{
    args::BootArgs,
    crash::Section,
    device::{BufferPool, FramePool},
    entropy::Generator,
    executor::Executor,
    lifecycle::Lifecycle,
    log::{level::Rule, settings::Settings as LogSettings},
    metrics::Collector,
    registry::Registry,
    time::{Instant, TimerQueue, WallClock},
};
use alloc::{rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

/// Everything that one core has for itself: nothing in it is shared, so nothing in it is locked.
pub(crate) struct Core {
    pub(crate) executor: Executor,
    pub(crate) timers: RefCell<TimerQueue>,
    pub(crate) wall: Cell<WallClock>,
    pub(crate) entropy: RefCell<Generator>,
    pub(crate) args: RefCell<BootArgs>,
    pub(crate) frames: RefCell<FramePool>,
    pub(crate) buffers: RefCell<BufferPool>,
    /// What crash reports say besides.
    pub(crate) sections: RefCell<Vec<Section>>,
    pub(crate) log_rules: RefCell<Vec<Rule>>,
    pub(crate) collectors: RefCell<Registry<Collector>>,
    pub(crate) life: Rc<Lifecycle>,
    pub(crate) log: LogSettings,
}

impl Core {
    pub(crate) fn new(seed: [u8; 32], args: BootArgs) -> Core {
        Core {
            executor: Executor::new(),
            timers: RefCell::default(),
            wall: Cell::new(WallClock::new(boot_unix_time())),
            entropy: RefCell::new(Generator::new(seed, Instant::now(), vm_generation())),
            args: RefCell::new(args),
            frames: RefCell::default(),
            buffers: RefCell::default(),
            sections: RefCell::default(),
            log_rules: RefCell::default(),
            collectors: RefCell::default(),
            life: Rc::new(Lifecycle::new()),
            log: LogSettings::new(),
        }
    }
}
