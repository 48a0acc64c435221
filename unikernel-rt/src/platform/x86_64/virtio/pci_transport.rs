//! virtio over PCI (virtio 1.2, 4.1), modern devices: MSI-X, and a doorbell that is one write.

use super::super::{
    memory,
    pci::{self, Function, Msix},
};
use crate::{Error, Result};
use core::{
    ops::{Range, RangeInclusive},
    ptr,
};
use virtio_drivers::{
    PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const CAPABILITY_VENDOR: u8 = 0x09;

/// A set of registers (virtio 1.2, 4.1.4): its kind, how it must be aligned, and how much of it may be mapped: no device of ours has
/// more, and who is believed with gigabytes has no memory left for page tables.
pub(super) struct Wanted {
    kind: u8,
    align: u32,
    len: RangeInclusive<u32>,
}

pub(super) const COMMON: Wanted = Wanted { kind: 1, align: 4, len: common::LEN..=common::LEN };
pub(super) const NOTIFY: Wanted = Wanted { kind: 2, align: 2, len: 2..=1 << 20 };
pub(super) const DEVICE: Wanted = Wanted { kind: 4, align: 4, len: 1..=4096 };

/// Offsets in the common configuration (virtio 1.2, 4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: usize = 0;
    pub(super) const DEVICE_FEATURE: usize = 4;
    pub(super) const DRIVER_FEATURE_SELECT: usize = 8;
    pub(super) const DRIVER_FEATURE: usize = 12;
    pub(super) const CONFIG_MSIX_VECTOR: usize = 16;
    pub(super) const DEVICE_STATUS: usize = 20;
    pub(super) const CONFIG_GENERATION: usize = 21;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_SIZE: usize = 24;
    pub(super) const QUEUE_MSIX_VECTOR: usize = 26;
    pub(super) const QUEUE_ENABLE: usize = 28;
    pub(super) const QUEUE_NOTIFY_OFF: usize = 30;
    pub(super) const QUEUE_DESC: usize = 32;
    pub(super) const QUEUE_DRIVER: usize = 40;
    pub(super) const QUEUE_DEVICE: usize = 48;
    pub(super) const LEN: u32 = 56;
}

/// Queues whose doorbells are remembered: a network port has two, and a control queue.
const QUEUES_MAX: usize = 4;

/// Registers of a device, mapped for ever.
#[derive(Clone, Copy)]
struct Registers {
    start: *mut u8,
    len: usize,
}

impl Registers {
    fn read<T: Copy>(self, offset: usize) -> T {
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: within the mapped registers and aligned, as checked; reading configuration has no effect on memory.
        unsafe { ptr::read_volatile(self.start.add(offset).cast()) }
    }

    fn write<T: Copy>(self, offset: usize, value: T) {
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: as above; queue addresses, which do let the device touch memory, come from `Rings::new`.
        unsafe { ptr::write_volatile(self.start.add(offset).cast(), value) }
    }
}

/// A virtio device on the PCI bus.
pub(super) struct PciTransport {
    kind: DeviceType,
    common: Registers,
    notify: Registers,
    notify_multiplier: u32,
    device: Option<Registers>,
    msix: Msix,
    /// Where each queue's doorbell is in `notify`, as [`max_queue_size`](Transport::max_queue_size) found it.
    doorbells: [usize; QUEUES_MAX],
}

impl PciTransport {
    /// What kind of device it is, by its id (virtio 1.2, 4.1.2.1).
    pub(super) fn device_type_of(function: Function) -> Option<DeviceType> {
        match function.device_id() {
            0x1000 => Some(DeviceType::Network),
            0x1001 => Some(DeviceType::Block),
            0x1005 => Some(DeviceType::EntropySource),
            id @ 0x1040..0x1080 => DeviceType::try_from(u32::from(id) - 0x1040).ok(),
            _ => None,
        }
    }

    /// Maps the device's registers and turns MSI-X on.
    ///
    /// # Errors
    ///
    /// It is not a modern device, or it lacks MSI-X.
    pub(super) fn new(function: Function) -> Result<PciTransport> {
        let kind = PciTransport::device_type_of(function).ok_or_else(|| Error::msg("not a virtio device"))?;
        function.enable();
        let modern = "a virtio device has no modern interface; start QEMU with `disable-modern=off` for it";
        let common = map(function, &COMMON).ok_or_else(|| Error::msg(modern))?.0;
        let (notify, capability) = map(function, &NOTIFY).ok_or_else(|| Error::msg(modern))?;
        let msix = function.msix().ok_or_else(|| {
            Error::msg("a virtio device has no MSI-X interrupts; start QEMU without `vectors=0` for it")
        })?;
        Ok(PciTransport {
            kind,
            common,
            notify,
            notify_multiplier: function.read(capability + 16),
            device: map(function, &DEVICE).map(|(registers, _)| registers),
            msix,
            doorbells: [0; QUEUES_MAX],
        })
    }

    /// Sends the interrupts of every queue to `vector`. To be called before queues are set up.
    ///
    /// # Errors
    ///
    /// The device has no entry for it.
    pub(super) fn set_interrupt(&mut self, vector: u8) -> Result {
        match self.msix.route(0, vector) {
            true => Ok(()),
            false => Err(Error::msg("a virtio device has an empty MSI-X table; start QEMU without `vectors=0` for it")),
        }
    }

    /// One whose registers are memory: the common ones, and so many bytes for doorbells.
    #[cfg(feature = "selftest")]
    pub(super) fn over(common: &'static mut [u64; 8], doorbells: &'static mut [u64], multiplier: u32) -> PciTransport {
        PciTransport {
            kind: DeviceType::Network,
            common: Registers { start: common.as_mut_ptr().cast(), len: size_of_val(common) },
            notify: Registers { start: doorbells.as_mut_ptr().cast(), len: size_of_val(doorbells) },
            notify_multiplier: multiplier,
            device: None,
            msix: Msix::empty(),
            doorbells: [0; QUEUES_MAX],
        }
    }

    fn select(&self, queue: u16) {
        self.common.write(common::QUEUE_SELECT, queue);
    }

    /// Where the selected queue's doorbell is; `None` where the device says that it is beyond its registers.
    fn doorbell(&self) -> Option<usize> {
        let place = self.common.read::<u16>(common::QUEUE_NOTIFY_OFF);
        let offset = usize::from(place) * self.notify_multiplier as usize;
        (offset.is_multiple_of(2) && offset + 2 <= self.notify.len).then_some(offset)
    }
}

/// Registers, and the offset of the capability that tells of them.
fn map(function: Function, wanted: &Wanted) -> Option<(Registers, u8)> {
    let (range, offset) = find(&|offset| function.read(offset), wanted)?;
    let len = (range.end - range.start) as usize;
    Some((Registers { start: memory::map_device(range), len }, offset))
}

/// Where registers are, and the offset of the capability that tells of them, in the configuration space that `read` reads.
pub(super) fn find(read: &impl Fn(u8) -> u32, wanted: &Wanted) -> Option<(Range<u64>, u8)> {
    const CAPABILITY_END: u8 = 0xe0;
    for (id, offset) in pci::capabilities(read) {
        if id != CAPABILITY_VENDOR || offset > CAPABILITY_END || (read(offset) >> 24) as u8 != wanted.kind {
            continue;
        }
        let (bar, start, len) = (read(offset + 4) as u8, read(offset + 8), read(offset + 12));
        if len < *wanted.len.start() || !start.is_multiple_of(wanted.align) {
            continue;
        }
        // A range we cannot use may be followed by one we can (virtio 1.2, 4.1.4.1).
        if let Some(range) = pci::bar_range(read, bar, start, len.min(*wanted.len.end())) {
            return Some((range, offset));
        }
    }
    None
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        let mut features = 0;
        for half in [1, 0] {
            self.common.write::<u32>(common::DEVICE_FEATURE_SELECT, half);
            features = features << 32 | u64::from(self.common.read::<u32>(common::DEVICE_FEATURE));
        }
        features
    }

    fn write_driver_features(&mut self, features: u64) {
        for (half, bits) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(common::DRIVER_FEATURE_SELECT, half);
            self.common.write(common::DRIVER_FEATURE, bits);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        // A queue that cannot be rung is none.
        let Some(doorbell) = self.doorbell() else { return 0 };
        self.doorbells[usize::from(queue)] = doorbell;
        self.common.read::<u16>(common::QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        self.notify.write(self.doorbells[usize::from(queue)], queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.common.read::<u8>(common::DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write(common::DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        // A device that fails says so with an interrupt of its configuration.
        self.common.write(common::CONFIG_MSIX_VECTOR, 0_u16);
        self.select(queue);
        self.common.write(common::QUEUE_SIZE, size as u16);
        // Entry 0 of the MSI-X table, see `set_interrupt`.
        self.common.write(common::QUEUE_MSIX_VECTOR, 0_u16);
        for (register, address) in
            [(common::QUEUE_DESC, descriptors), (common::QUEUE_DRIVER, driver), (common::QUEUE_DEVICE, device)]
        {
            self.common.write(register, address as u32);
            self.common.write(register + 4, (address >> 32) as u32);
        }
        self.common.write(common::QUEUE_ENABLE, 1_u16);
    }

    fn queue_unset(&mut self, _: u16) {
        // A queue stays until the device is reset (virtio 1.2, 4.1.4.3.2).
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read::<u16>(common::QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // A message needs no acknowledgement.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read::<u8>(common::CONFIG_GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<T> {
        let device = self.device.ok_or(virtio_drivers::Error::ConfigSpaceMissing)?;
        if offset + size_of::<T>() > device.len {
            return Err(virtio_drivers::Error::ConfigSpaceTooSmall);
        }
        let mut value = T::new_zeroed();
        // Byte by byte is allowed for every field (virtio 1.2, 4.1.3.1) but not atomic; the caller compares generations.
        for (index, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            *byte = device.read(offset + index);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> virtio_drivers::Result<()> {
        let device = self.device.ok_or(virtio_drivers::Error::ConfigSpaceMissing)?;
        if offset + size_of::<T>() > device.len {
            return Err(virtio_drivers::Error::ConfigSpaceTooSmall);
        }
        for (index, byte) in value.as_bytes().iter().enumerate() {
            device.write(offset + index, *byte);
        }
        Ok(())
    }
}

/// As that of `MmioTransport`: a device that nobody drives must not touch memory that is used again.
impl Drop for PciTransport {
    fn drop(&mut self) {
        self.set_status(DeviceStatus::empty());
    }
}
