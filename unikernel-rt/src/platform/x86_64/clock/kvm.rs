//! KVM's word on the speed of the time stamp counter (Linux, Documentation/virt/kvm/x86/msr.rst).

use crate::platform::x86_64::memory;
use core::{arch::x86_64::__cpuid, cell::UnsafeCell};
use x86_64::registers::model_specific::Msr;

const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
/// CPUID 0x40000001, EAX bit 3: the register above exists.
const HAS_SYSTEM_TIME: u32 = 1 << 3;

/// What the hypervisor writes; only the two fields that describe the speed are used.
#[repr(C, align(64))]
struct TimeInfo {
    version: u32,
    padding: u32,
    counter: u64,
    system_time: u64,
    multiplier: u32,
    shift: i8,
    flags: u8,
    more_padding: [u8; 2],
}

struct Shared(UnsafeCell<TimeInfo>);

// SAFETY: written by the hypervisor between two register writes of one core, read by that core.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(UnsafeCell::new(TimeInfo {
    version: 0,
    padding: 0,
    counter: 0,
    system_time: 0,
    multiplier: 0,
    shift: 0,
    flags: 0,
    more_padding: [0; 2],
}));

/// Microseconds per tick, times 2^32; `None` elsewhere than under KVM.
pub(super) fn micros_per_tick() -> Option<u64> {
    if !has_system_time() {
        return None;
    }
    let info = SHARED.0.get();
    let mut register = Msr::new(MSR_SYSTEM_TIME);
    // SAFETY: the hypervisor has the register; it writes to our static until told to stop, which we do at once.
    unsafe {
        register.write(memory::physical_of_image(info as u64) | 1);
        register.write(0);
    }
    // SAFETY: nobody writes to it any more.
    let (multiplier, shift) =
        unsafe { ((&raw const (*info).multiplier).read_volatile(), (&raw const (*info).shift).read_volatile()) };
    // Nanoseconds are ticks, shifted, times the multiplier, divided by 2^32.
    let nanos_per_tick = match shift {
        0.. => u128::from(multiplier) << shift.min(32),
        ..0 => u128::from(multiplier) >> shift.unsigned_abs().min(63),
    };
    (multiplier != 0).then_some((nanos_per_tick / 1000) as u64)
}

fn has_system_time() -> bool {
    /// CPUID 1, ECX bit 31: there is a hypervisor.
    const HYPERVISOR: u32 = 1 << 31;
    if __cpuid(1).ecx & HYPERVISOR == 0 {
        return false;
    }
    let vendor = __cpuid(0x4000_0000);
    let name = [vendor.ebx, vendor.ecx, vendor.edx].map(u32::to_le_bytes);
    name.as_flattened() == b"KVMKVMKVM\0\0\0" && __cpuid(0x4000_0001).eax & HAS_SYSTEM_TIME != 0
}
