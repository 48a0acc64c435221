//! A device that keeps the rules or breaks one of them: what it says of itself, and its transport.

use super::{lies::Lie, random::Random, ring::Ring};
use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ops::Range,
};
use virtio_drivers::{
    Error, PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Net,
    Block,
    Rng,
}

pub(super) const VERSION_1: u64 = 1 << 32;

/// A device. The driver's side of it is [`Fake`].
pub(super) struct Device {
    pub(super) kind: Kind,
    pub(super) random: Random,
    pub(super) lie: Option<Lie>,
    /// How often it was told.
    pub(super) told: Cell<u32>,
    /// What it offers first.
    pub(super) offers: u64,
    /// What the driver took.
    pub(super) features: u64,
    pub(super) queue_len: u32,
    pub(super) config: Vec<u8>,
    /// How often the configuration changes while it is read.
    pub(super) changes: Cell<u32>,
    generation: Cell<u32>,
    status: DeviceStatus,
    pub(super) rings: Vec<Option<Ring>>,
    /// Packets or requests it answered as it should.
    pub(super) answered: u32,
    /// Packets that the driver should receive.
    pub(super) packets: u32,
}

impl Device {
    pub(super) fn new(kind: Kind, random: Random, lie: Option<Lie>) -> Device {
        Device {
            kind,
            random,
            lie,
            told: Cell::new(0),
            offers: 0,
            features: 0,
            queue_len: 0,
            config: Vec::new(),
            changes: Cell::new(0),
            generation: Cell::new(0),
            status: DeviceStatus::empty(),
            rings: Vec::new(),
            answered: 0,
            packets: 0,
        }
    }

    pub(super) fn has(&self, bit: u32) -> bool {
        self.features >> bit & 1 != 0
    }

    pub(super) fn count(&self) {
        self.told.set(self.told.get() + 1);
    }

    /// Whether this is its lie, which it then tells.
    pub(super) fn tells(&self, lie: Lie) -> bool {
        let tells = self.lie == Some(lie);
        if tells {
            self.count();
        }
        tells
    }

    pub(super) fn is_set_up(&self) -> bool {
        self.status.contains(DeviceStatus::DRIVER_OK)
    }

    pub(super) fn ask_for_reset(&mut self) {
        self.status |= DeviceStatus::DEVICE_NEEDS_RESET;
    }

    /// What it may touch, and nobody else may have: queues, and buffers in them.
    pub(super) fn has_memory(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.rings.iter().flatten().flat_map(|ring| {
            let parts = ring.held.iter().flat_map(|chain| &chain.parts);
            ring.memory().into_iter().chain(parts.map(|part| part.range.clone()))
        })
    }

    fn reset(&mut self) {
        let keeps_memory = self.lie == Some(Lie::KeepsMemory) && self.rings.iter().any(Option::is_some);
        if self.lie == Some(Lie::NoReset) || keeps_memory {
            self.count();
            self.status = DeviceStatus::DRIVER;
            return;
        }
        self.status = DeviceStatus::empty();
        self.rings.clear();
    }
}

/// The device as its driver reaches it.
#[derive(Clone)]
pub(super) struct Fake(pub(super) Rc<RefCell<Device>>);

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        match self.0.borrow().kind {
            Kind::Net => DeviceType::Network,
            Kind::Block => DeviceType::Block,
            Kind::Rng => DeviceType::EntropySource,
        }
    }

    fn read_device_features(&mut self) -> u64 {
        let mut device = self.0.borrow_mut();
        // The next offer is another one.
        let next = device.random.next();
        core::mem::replace(&mut device.offers, next)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.0.borrow_mut().features = features;
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        let device = &mut *self.0.borrow_mut();
        match device.tells(Lie::QueueSize) {
            true => device.random.pick(&[0, 3, 6, 100, 65_535, u32::MAX]),
            false => device.queue_len,
        }
    }

    fn notify(&mut self, _: u16) {
        self.0.borrow_mut().turn();
    }

    fn get_status(&self) -> DeviceStatus {
        self.0.borrow().status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let device = &mut *self.0.borrow_mut();
        if status.is_empty() {
            return device.reset();
        }
        device.status = status;
        if device.features & VERSION_1 != 0
            && status.contains(DeviceStatus::FEATURES_OK)
            && device.tells(Lie::TakesBack)
        {
            device.status -= DeviceStatus::FEATURES_OK;
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        self.0.borrow().features & VERSION_1 == 0
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        let rings = &mut self.0.borrow_mut().rings;
        while rings.len() <= usize::from(queue) {
            rings.push(None);
        }
        rings[usize::from(queue)] = Some(Ring::new(size, descriptors, driver, device));
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.borrow().rings.get(usize::from(queue)).is_some_and(Option::is_some)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(self.0.borrow_mut().random.next() as u32)
    }

    fn read_config_generation(&self) -> u32 {
        let device = self.0.borrow();
        if device.tells(Lie::Restless) || device.changes.get() > 0 {
            device.changes.set(device.changes.get().saturating_sub(1));
            device.generation.set(device.generation.get().wrapping_add(1));
        }
        device.generation.get()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<T> {
        let device = self.0.borrow();
        let bytes = device.config.get(offset..offset + size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        T::read_from_bytes(bytes).map_err(|_| Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> virtio_drivers::Result<()> {
        Ok(())
    }
}
