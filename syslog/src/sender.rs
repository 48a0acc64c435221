//! The two tasks: one reads the log, one sends what waits.

use crate::{
    batch::Batch,
    collector::{Collector, Transport},
    limits::{BACKOFF_MAX, BACKOFF_MIN, COMPLAINT_INTERVAL, FLUSH_TIME_MAX, TURN},
    message::{Element, Message},
    queue::{Entry, Queue},
    syslog::{Stats, Syslog},
    transport::{Failure, over_connection, over_datagrams},
};
use alloc::{rc::Rc, string::String};
use core::{
    cell::{Cell, RefCell},
    fmt,
    pin::pin,
};
use unikernel_net::Stack;
use unikernel_rt::{
    entropy,
    future::select,
    log::{Display2Format as Text, info, tail::Tail, warn},
    metrics::{self, Counter},
    sync::Notify,
    task::yield_now,
    time::{Duration, Instant, sleep, timeout, unix_time_at},
};

static SENT: Counter = Counter::new("unikernel_syslog_sent_total", "Log lines sent to the syslog collector.");
static LOST: Counter = Counter::new("unikernel_syslog_lost_total", "Log lines dropped on their way to the collector.");

/// What both tasks know.
pub(crate) struct Shared {
    pub(crate) config: Syslog,
    pub(crate) collector: Collector,
    pub(crate) stack: Stack,
    pub(crate) stats: Cell<Stats>,
    queue: RefCell<Queue>,
    /// There is a line to send, or to tell of.
    news: Notify,
    /// Lines that were lost, and nobody was told of; and when somebody may be.
    untold: Cell<u64>,
    quiet_until: Cell<Instant>,
    /// Lines that were taken from the queue, and are not sent yet.
    in_hand: Cell<u64>,
    /// The machine stops, and the reader is to say when it has read all.
    flush: Notify,
    is_flushing: Cell<bool>,
    is_read: Cell<bool>,
    progress: Notify,
}

impl Shared {
    pub(crate) fn new(config: Syslog, collector: Collector, stack: Stack) -> Shared {
        metrics::list(&SENT);
        metrics::list(&LOST);
        Shared {
            queue: RefCell::new(Queue::new(config.buffer_len)),
            config,
            collector,
            stack,
            stats: Cell::default(),
            news: Notify::of("a line for the syslog collector"),
            untold: Cell::new(0),
            quiet_until: Cell::new(Instant::from_micros(0)),
            in_hand: Cell::new(0),
            flush: Notify::of("the stop of the syslog sink"),
            is_flushing: Cell::new(false),
            is_read: Cell::new(false),
            progress: Notify::of("the last lines for the syslog collector"),
        }
    }

    /// For the stop of the machine: waits until all lines that were logged are sent, but not for long.
    pub(crate) async fn flush(&self) {
        self.is_flushing.set(true);
        self.flush.notify_one();
        let sent = async {
            while !self.is_read.get() || self.in_hand.get() > 0 || !self.queue.borrow().is_empty() {
                self.progress.notified().await;
            }
        };
        if timeout(FLUSH_TIME_MAX, sent).await.is_err() {
            warn!("syslog: {} did not take the last lines before the stop", Text(&self.collector));
        }
    }

    /// The reader has read what there was.
    fn note_read(&self) {
        if self.is_flushing.get() {
            self.is_read.set(true);
            self.progress.notify_one();
        }
    }

    fn let_go(&self, lines: u64) {
        self.in_hand.set(self.in_hand.get() - lines);
        self.progress.notify_one();
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn note_lost(&self, lines: u64) {
        if lines > 0 {
            LOST.add(lines);
            self.count(|stats| stats.lost += lines);
            self.untold.set(self.untold.get() + lines);
            self.news.notify_one();
        }
    }

    /// A line that was taken cannot be sent.
    pub(crate) fn give_up(&self) {
        self.let_go(1);
        self.note_lost(1);
    }

    /// These lines are on their way.
    pub(crate) fn note_sent(&self, lines: u64) {
        self.let_go(lines);
        SENT.add(lines);
        self.count(|stats| stats.sent += lines);
        if self.untold.get() > 0 && self.quiet_until.get() <= Instant::now() {
            self.tell_lost();
        }
    }

    /// Says how many lines were lost. That line is sent, too; so it does not come often.
    fn tell_lost(&self) {
        self.quiet_until.set(Instant::now() + COMPLAINT_INTERVAL);
        let lost = self.untold.take();
        warn!("syslog: {} log lines were lost before {} could have them", lost, Text(&self.collector));
    }

    /// Waits until there is a line to send. Cancel safe.
    pub(crate) async fn ready(&self) {
        while self.queue.borrow().is_empty() {
            let may_tell = match self.untold.get() {
                0 => Instant::FOREVER,
                _ => self.quiet_until.get(),
            };
            let pause = may_tell - Instant::now();
            if timeout(pause, self.news.notified()).await.is_err() {
                self.tell_lost();
            }
        }
    }

    pub(crate) fn pop(&self) -> Option<Entry> {
        let entry = self.queue.borrow_mut().pop()?;
        self.in_hand.set(self.in_hand.get() + 1);
        Some(entry)
    }

    pub(crate) fn unpop(&self, entry: Entry) {
        self.in_hand.set(self.in_hand.get() - 1);
        self.queue.borrow_mut().unpop(entry);
    }

    /// Puts lines that wait into `batch`.
    pub(crate) fn fill(&self, batch: &mut Batch) {
        let hostname = self.hostname();
        while batch.has_room()
            && let Some(entry) = self.pop()
        {
            batch.push(|len_max, out| self.write(&entry, &hostname, len_max, out));
        }
    }

    /// RFC 5424, 6.2.4: its name, or else an address.
    pub(crate) fn hostname(&self) -> String {
        match &self.config.hostname {
            Some(name) => name.clone(),
            None => self.stack.addresses().first().map(alloc::string::ToString::to_string).unwrap_or_default(),
        }
    }

    pub(crate) fn write(&self, entry: &Entry, hostname: &str, len_max: usize, out: &mut String) {
        let Entry { number, record } = entry;
        // RFC 5424, 7.3: hundredths of seconds, and the number by which a collector notices a gap.
        let meta = Element::new("meta")
            .with("sequenceId", alloc::format!("{number}"))
            .with("sysUpTime", alloc::format!("{}", record.at.as_micros() / 10_000));
        let mut data = alloc::vec![meta];
        data.extend_from_slice(&self.config.data);
        let message = Message {
            facility: self.config.facility,
            severity: record.level.into(),
            time: unix_time_at(record.at),
            hostname,
            app_name: &self.config.app_name,
            proc_id: "",
            msg_id: &record.target,
            data: &data,
            text: &record.message,
        };
        message.write(len_max, out);
    }
}

/// Reads the log, and never waits for the collector.
pub(crate) async fn collect(shared: Rc<Shared>, mut tail: Tail) {
    let mut turn = 0;
    loop {
        let record = tail.read_record();
        let missed = tail.take_lost();
        shared.queue.borrow_mut().skip(missed);
        shared.note_lost(missed);
        match record {
            Some(record) if record.level <= shared.config.level => {
                let dropped = shared.queue.borrow_mut().push(record);
                shared.note_lost(dropped);
                shared.news.notify_one();
            }
            Some(_) => {}
            None => {
                shared.note_read();
                select(pin!(tail.changed()), pin!(shared.flush.notified())).await;
            }
        }
        turn += 1;
        if turn % TURN == 0 {
            yield_now().await;
        }
    }
}

/// Sends what waits, over one connection after the other.
pub(crate) async fn send(shared: Rc<Shared>) {
    let mut outage = Outage::new();
    let mut batch = Batch::default();
    shared.stack.configured().await;
    loop {
        let failure = match shared.collector.transport {
            Transport::Udp => over_datagrams(&shared, &mut outage).await,
            Transport::Tcp | Transport::Tls => over_connection(&shared, &mut batch, &mut outage).await,
        };
        shared.count(|stats| stats.failures += 1);
        let pause = outage.begin(&shared.collector, &failure);
        sleep(pause).await;
    }
}

/// A time without a collector.
pub(crate) struct Outage {
    attempts: u32,
    /// Somebody was told of it.
    is_told: bool,
    quiet_until: Instant,
}

impl Outage {
    fn new() -> Outage {
        Outage { attempts: 0, is_told: false, quiet_until: Instant::from_micros(0) }
    }

    /// How many attempts in a row have failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Another attempt failed. Tells of the second in a row, as a collector may be restarted and an address take its time;
    /// returns how long to wait for the next.
    fn begin(&mut self, collector: &Collector, failure: &Failure) -> Duration {
        if self.attempts > 0 && !self.is_told && self.quiet_until <= Instant::now() {
            self.is_told = true;
            self.quiet_until = Instant::now() + COMPLAINT_INTERVAL;
            let (collector, failure) = (Text(collector), Text(failure));
            warn!("syslog: no way to {}: {}; log lines wait, and the oldest give way", collector, failure);
        }
        let pause = (BACKOFF_MIN * (1 << self.attempts.min(10))).min(BACKOFF_MAX);
        self.attempts += 1;
        let half = pause.as_micros() as u64 / 2;
        Duration::from_micros(half + entropy::u64() % (half + 1))
    }

    /// Lines pass.
    pub(crate) fn end(&mut self, collector: &Collector) {
        self.attempts = 0;
        if core::mem::take(&mut self.is_told) {
            info!("syslog: log lines reach {} again", Text(collector));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.collector)
    }
}
