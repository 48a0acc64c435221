//! Sends a flood's packets at a steady rate, through a raw socket, which leaves their source address as it is.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::packet::Packets;
use crate::namespace::dropped;
use crate::{Result, error};

/// `IPPROTO_RAW`: every packet brings its IP header (`raw(7)`).
const RAW: i32 = 255;

/// A flood as it was sent.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sent {
    /// Packets.
    pub packets: u32,
    /// Of these, those that found the guest's queue full.
    pub dropped: u64,
    /// How long it took.
    pub time: Duration,
}

/// Sends `count` packets, so many a second, or as fast as this machine can.
pub fn send(mut packets: Packets, server: SocketAddr, count: u32, per_second: u32) -> Result<Sent> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))
        .map_err(|cause| error(format!("cannot open a raw socket: {cause}; are you root?")))?;
    let (start, dropped_before) = (Instant::now(), dropped()?);
    // A raw socket has no ports.
    let server = SocketAddr::new(server.ip(), 0).into();
    for index in 0..count {
        let due = start + Duration::from_secs(1) * index / per_second;
        // Packets go in small bursts, as a sleep takes longer than the time between two.
        if due > Instant::now() + Duration::from_millis(1) {
            thread::sleep(due - Instant::now());
        }
        match socket.send_to(&packets.next(), &server) {
            Ok(_) => {}
            // The queue is full: counted with those that the interface drops.
            Err(cause) if cause.raw_os_error() == Some(ENOBUFS) => {}
            Err(cause) => return Err(error(format!("cannot send the flood: {cause}"))),
        }
    }
    Ok(Sent { packets: count, dropped: dropped()? - dropped_before, time: start.elapsed() })
}

/// What Linux answers when a queue is full.
const ENOBUFS: i32 = 105;
