//! Frames that wait for a neighbour's answer.

use crate::address::limits::{FRAMES_WAITING_MAX, FRAMES_WAITING_PER_NEIGHBOR};
use alloc::{collections::VecDeque, vec::Vec};
use core::net::IpAddr;
use unikernel_rt::device::Frame;

/// Oldest first, for all neighbours.
#[derive(Default)]
pub(super) struct Waiting {
    frames: VecDeque<(IpAddr, Frame)>,
    pub(super) dropped: u64,
}

impl Waiting {
    /// Adds a frame. Where there are too many, for this neighbour or in all, the oldest of them goes.
    pub(super) fn push(&mut self, ip: IpAddr, frame: Frame) {
        let of_this = self.frames.iter().filter(|(other, _)| *other == ip).count();
        let oldest = match of_this >= FRAMES_WAITING_PER_NEIGHBOR {
            true => self.frames.iter().position(|(other, _)| *other == ip),
            false => (self.frames.len() >= FRAMES_WAITING_MAX).then_some(0),
        };
        if let Some(oldest) = oldest {
            self.frames.remove(oldest);
            self.dropped += 1;
        }
        self.frames.push_back((ip, frame));
    }

    /// The frames for a neighbour, in order.
    pub(super) fn take(&mut self, ip: IpAddr) -> Vec<Frame> {
        let (these, others) = core::mem::take(&mut self.frames).into_iter().partition(|(other, _)| *other == ip);
        self.frames = others;
        let these: VecDeque<(IpAddr, Frame)> = these;
        these.into_iter().map(|(_, frame)| frame).collect()
    }

    /// Drops the frames for these neighbours.
    pub(super) fn drop_for(&mut self, gone: impl Fn(IpAddr) -> bool) {
        let before = self.frames.len();
        self.frames.retain(|(ip, _)| !gone(*ip));
        self.dropped += (before - self.frames.len()) as u64;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }
}
