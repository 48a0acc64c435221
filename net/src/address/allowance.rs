//! A bound on what a DHCP client says: a server that refuses everything must not keep the network busy.

use super::limits::{DHCP_BURST, DHCP_PAUSE};
use unikernel_rt::time::Instant;

/// [`DHCP_BURST`] messages in [`DHCP_PAUSE`].
pub(super) struct Allowance {
    left: u32,
    ends: Instant,
}

impl Allowance {
    pub(super) fn new() -> Allowance {
        Allowance { left: 0, ends: Instant::default() }
    }

    /// The moment for a message that is due.
    pub(super) fn moment(&self, due: Instant) -> Instant {
        if self.left == 0 { due.max(self.ends) } else { due }
    }

    /// Takes one message, not before its [`moment`](Self::moment).
    pub(super) fn take(&mut self, now: Instant) {
        if now >= self.ends {
            self.left = DHCP_BURST;
            self.ends = now + DHCP_PAUSE;
        }
        self.left = self.left.saturating_sub(1);
    }
}
