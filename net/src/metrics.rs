//! The stack's numbers for the metrics of the machine.

use crate::{
    net::Net,
    stack::Shared,
    stats::{Drops, Stats},
};
use alloc::{rc::Rc, string::ToString};
use unikernel_rt::metrics::{Page, collect_with};

/// Puts the numbers of this stack on the page, as long as it lives.
pub(crate) fn start(shared: &Rc<Shared>) {
    collect_with(shared, |shared, page| {
        // Borrowed by whoever writes the page from inside the stack; nobody does.
        if let Ok(net) = shared.net.try_borrow() {
            ports(page, &net);
            connections(page, &net.stats());
        }
    });
}

fn ports(page: &mut Page, net: &Net) {
    for (number, interface) in net.interfaces().iter().enumerate() {
        let (link, number) = (&interface.link, number.to_string());
        let (device, labels) = (link.stats(), [("port", &*number)]);
        let mut count = |name, help, value: u64| page.counter(name, help, &labels, value);
        count("unikernel_network_received_frames_total", "Frames received.", link.frames_in);
        count("unikernel_network_received_bytes_total", "Bytes in received frames.", link.bytes_in);
        count("unikernel_network_sent_frames_total", "Frames handed to the port.", link.frames_out);
        count("unikernel_network_sent_bytes_total", "Bytes in frames handed to the port.", link.bytes_out);
        let help = "Frames that were received, and dropped as there was no memory to replace their buffers.";
        count("unikernel_network_received_dropped_total", help, device.received_dropped);
        let help = "Frames that the port is sending.";
        page.gauge("unikernel_network_send_queue_frames", help, &labels, device.send_queue_used);
        let help = "Most frames that the port can be sending.";
        page.gauge("unikernel_network_send_queue_frames_max", help, &labels, device.send_queue_len);
    }
}

fn connections(page: &mut Page, stats: &Stats) {
    let of = &stats.by_state;
    let states = [
        ("connecting", of.connecting),
        ("half-open", of.half_open),
        ("queued", of.queued),
        ("established", of.owned),
        ("closing", of.orphaned),
        ("time-wait", stats.time_wait),
    ];
    for (state, count) in states {
        page.gauge("unikernel_tcp_connections", "Connections by state.", &[("state", state)], count);
    }
    let mut count = |name, help, value: u64| page.counter(name, help, &[], value);
    count("unikernel_tcp_opened_total", "Handshakes of others that were completed.", stats.opened);
    count("unikernel_tcp_accepted_total", "Connections that a listener accepted.", stats.accepted);
    count("unikernel_tcp_connects_total", "Connections that were asked for.", stats.connects);
    count("unikernel_tcp_closed_total", "Connections that are over.", stats.closed);
    count("unikernel_tcp_retransmits_total", "Times data had to be sent again.", stats.retransmits);
    count("unikernel_tcp_resets_received_total", "Connections that the peer reset.", stats.resets_received);
    count("unikernel_tcp_resets_sent_total", "Connections that were reset.", stats.resets_sent);
    count("unikernel_tcp_syn_cookies_total", "SYNs answered with a cookie.", stats.cookies);
    count("unikernel_network_reassembled_total", "Packets put together from fragments.", stats.reassembled);
    page.gauge("unikernel_tcp_window_bytes", "What windows have promised beyond the least.", &[], stats.window_memory);
    for (cause, count) in causes(&stats.drops) {
        let help = "Frames and connections thrown away, by cause.";
        page.counter("unikernel_network_drops_total", help, &[("cause", cause)], count);
    }
}

fn causes(drops: &Drops) -> [(&'static str, u64); 14] {
    [
        ("foreign", drops.foreign),
        ("malformed", drops.malformed),
        ("fragment", drops.fragments),
        ("checksum", drops.checksum),
        ("unmatched", drops.unmatched),
        ("connections", drops.connections),
        ("per-source", drops.per_source),
        ("memory", drops.memory),
        ("datagram", drops.datagrams),
        ("complaint", drops.complaints),
        ("backlog", drops.backlog),
        ("half-open", drops.half_open),
        ("no-room", drops.no_room),
        ("orphan", drops.orphans),
    ]
}
