//! Devices as the rest of the system sees them: traits that virtio drivers and simulated parts both implement.

mod block;
mod buffer;
mod frame;
pub(crate) mod pool;

pub use block::{BlockCompletion, BlockDevice, BlockError, BlockInfo, BlockOp, BlockRequest};
pub use buffer::Buffer;
pub(crate) use buffer::BufferPool;
#[cfg(target_os = "none")]
pub(crate) use frame::HEADROOM;
pub use frame::{Checksum, FRAME_LEN_DEFAULT, Frame, Segmentation};
pub(crate) use pool::FramePool;
#[cfg(target_os = "none")]
pub(crate) use pool::PACKET_LEN_MAX;

use core::task::{Context, Poll};

/// A network port: Ethernet frames in and out.
///
/// Frames move by value: what a device may still touch, it owns.
pub trait NetDevice {
    /// Its Ethernet address.
    fn mac(&self) -> [u8; 6];

    /// The largest IP packet it takes, in bytes.
    fn mtu(&self) -> usize;

    /// What work it takes off the stack.
    fn offloads(&self) -> Offloads;

    /// The next received frame, if one is there. Never waits.
    fn receive(&mut self) -> Option<Frame>;

    /// Queues a frame for sending. Hands it back when the queue is full; try again after
    /// [`poll_ready`](Self::poll_ready). A bug of the caller, and panics: a frame longer than the MTU and its header, unless
    /// it has a [segmentation](Frame::segmentation) that the port offers; one of several parts.
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame>;

    /// Tells the device about the frames queued since the last call: one doorbell for a batch.
    fn flush(&mut self);

    /// What it counts; nothing, unless it says so.
    fn stats(&self) -> PortStats {
        PortStats::default()
    }

    /// Ready when a frame is there, or when the queue was full and has room again. Otherwise wakes the task
    /// once that changes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The numbers of a network port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames that were received and dropped, as there was no memory to replace their buffers.
    pub received_dropped: u64,
    /// Frames that it is sending.
    pub send_queue_used: usize,
    /// Most frames that it can be sending.
    pub send_queue_len: usize,
}

/// What a network port does in the stack's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// It completes TCP and UDP checksums of frames marked [`Checksum::Partial`].
    pub tx_checksum: bool,
    /// It may mark received frames as [`Checksum::Valid`]; the others must be checked.
    pub rx_checksum: bool,
    /// It cuts TCP packets over IPv4 with a [`Segmentation`], up to 65,535 bytes of IP packet.
    pub segmentation_v4: bool,
    /// The same over IPv6; its payload length counts after the IP header.
    pub segmentation_v6: bool,
}
