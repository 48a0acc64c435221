//! What a disk was asked, and how long it took: for the metrics of the machine.

use super::router::Lines;
use alloc::{format, rc::Rc, string::String, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicUsize, Ordering},
};
use unikernel_rt::{
    device::{BlockCompletion, BlockOp},
    metrics::{Buckets, Page, Stopwatch, collect_with},
};

/// The numbers of one device.
pub(super) struct Stats {
    name: String,
    /// When each request that is under way was made, by tag.
    begun: RefCell<Vec<Option<Stopwatch>>>,
    by_op: [OpStats; OPS.len()],
}

#[derive(Default)]
struct OpStats {
    bytes: Cell<u64>,
    errors: Cell<u64>,
    times: Buckets,
}

const OPS: [(BlockOp, &str); 5] = [
    (BlockOp::Read, "read"),
    (BlockOp::Write, "write"),
    (BlockOp::Flush, "flush"),
    (BlockOp::Discard, "discard"),
    (BlockOp::WriteZeroes, "write-zeroes"),
];

/// Disks that were told apart by their numbers.
static NUMBERED: AtomicUsize = AtomicUsize::new(0);

impl Stats {
    /// Of the disk with this serial. One without is given a number: each has lines of its own.
    pub(super) fn new(serial: &str) -> Stats {
        let name = match serial {
            "" => format!("#{}", NUMBERED.fetch_add(1, Ordering::Relaxed)),
            _ => serial.into(),
        };
        Stats { name, begun: RefCell::default(), by_op: Default::default() }
    }

    /// A request is made.
    pub(super) fn begin(&self, tag: usize) {
        let mut begun = self.begun.borrow_mut();
        if begun.len() <= tag {
            begun.resize(tag + 1, None);
        }
        begun[tag] = Some(Stopwatch::start());
    }

    /// It is done.
    pub(super) fn end(&self, completion: &BlockCompletion) {
        let request = &completion.request;
        let Some(begun) = self.begun.borrow_mut().get_mut(request.tag as usize).and_then(Option::take) else { return };
        let Some(place) = OPS.iter().position(|(op, _)| *op == request.op) else { return };
        let stats = &self.by_op[place];
        stats.times.observe(begun.micros());
        match completion.result {
            Ok(()) => stats.bytes.set(stats.bytes.get() + request.len),
            Err(_) => stats.errors.set(stats.errors.get() + 1),
        }
    }

    fn write(&self, page: &mut Page) {
        for ((_, op), stats) in OPS.iter().zip(&self.by_op) {
            let labels = [("disk", &*self.name), ("op", *op)];
            let help = "Bytes that were read, written and discarded.";
            page.counter("unikernel_disk_bytes_total", help, &labels, stats.bytes.get());
            page.counter("unikernel_disk_errors_total", "Requests that failed.", &labels, stats.errors.get());
            let help = "Time of a request, from its caller to the disk and back.";
            page.histogram_seconds("unikernel_disk_request_duration_seconds", help, &labels, &stats.times);
        }
        let under_way = self.begun.borrow().iter().flatten().count();
        let help = "Requests that are not done.";
        page.gauge("unikernel_disk_requests_in_flight", help, &[("disk", &*self.name)], under_way);
    }
}

/// Puts the numbers of a device on the page, as long as it lives.
pub(super) fn start(device: &Rc<Lines>) {
    collect_with(device, |device, page| device.stats.write(page));
}
