//! What an app uses: [`Syslog`].

use crate::{
    collector::{Collector, Transport},
    limits::BUFFER_LEN,
    message::{Element, Facility},
    sender::{Shared, collect, send},
};
use alloc::{rc::Rc, string::String, vec::Vec};
use unikernel_net::Stack;
use unikernel_rt::{
    Acquire, Error, Machine, Result, args, lifecycle,
    log::{app_name, require_text, tail::Level, tail::Tail},
    spawn_named,
};

/// Sends log lines to a collector.
///
/// As an argument of `main` it takes the boot arguments `syslog=` and `hostname=`; without the first, [`start`](Self::start)
/// does nothing. `syslog=udp:HOST:PORT`, `tcp:` and `tls:` name the collector, by name or address. `tls:` needs
/// `Syslog::tls`.
///
/// Set up by the program instead:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::log::info;
/// use unikernel_syslog::{Element, Facility, Syslog};
///
#[doc = include_str!("pair.md")]
/// # let socket = collector.udp(514)?;
/// let place = Element::new("place@32473").with("room", "7");
/// let syslog = Syslog::to("udp:10.0.0.2".parse()?).hostname("web1").app_name("shop");
/// let sink = syslog.facility(Facility::Local0).with(place).start(&stack)?;
///
/// info!("{} items", 3);
/// # let mut buffer = [0; 2000];
/// # let line = loop {
/// #     let datagram = socket.recv_from(&mut buffer).await;
/// #     let line = String::from_utf8(buffer[..datagram.len].to_vec())?;
/// #     if line.ends_with("3 items") {
/// #         break line;
/// #     }
/// # };
/// # assert!(line.starts_with("<134>1 2026-01-01T00:00:00.0") && line.contains(" web1 shop "), "{line}");
/// # assert!(line.contains("[place@32473 room=\"7\"]"), "{line}");
/// # assert!(sink.stats().sent > 0);
/// assert_eq!(sink.stats().lost, 0);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[must_use = "nothing is sent before `start`"]
pub struct Syslog {
    pub(crate) collector: Option<Collector>,
    pub(crate) hostname: Option<String>,
    pub(crate) app_name: String,
    pub(crate) facility: Facility,
    pub(crate) level: Level,
    pub(crate) data: Vec<Element>,
    pub(crate) buffer_len: usize,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<unikernel_tls::TlsConnector>,
}

/// Starts a [`Syslog`] by the boot arguments, for an app that reads them with `Args`: before `Args::finish`.
///
/// # Errors
///
/// As [`Syslog::from_boot_args`] and [`Syslog::start`].
pub fn start(stack: &Stack) -> Result<Sink> {
    Syslog::from_boot_args()?.start(stack)
}

impl Acquire for Syslog {
    async fn acquire(_: &mut Machine) -> Result<Syslog> {
        Syslog::from_boot_args()
    }
}

impl Syslog {
    /// To this collector.
    pub fn to(collector: Collector) -> Syslog {
        Syslog { collector: Some(collector), ..Syslog::none() }
    }

    /// By `syslog=` and `hostname=`.
    ///
    /// # Errors
    ///
    /// The argument names no collector.
    ///
    /// With `syslog=udp:10.0.0.2 hostname=web1`:
    ///
    /// ```
    /// # unikernel_rt::sim::run("syslog=udp:10.0.0.2 hostname=web1", async {
    /// use unikernel_rt::log::info;
    /// use unikernel_syslog::Syslog;
    ///
    #[doc = include_str!("pair.md")]
    /// # let socket = collector.udp(514)?;
    /// Syslog::from_boot_args()?.start(&stack)?;
    /// info!("{} items", 3);
    /// # let mut buffer = [0; 2000];
    /// # let line = loop {
    /// #     let datagram = socket.recv_from(&mut buffer).await;
    /// #     let line = String::from_utf8(buffer[..datagram.len].to_vec())?;
    /// #     if line.ends_with("3 items") {
    /// #         break line;
    /// #     }
    /// # };
    /// # assert!(line.starts_with("<30>1 ") && line.contains(" web1 "), "{line}");
    /// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
    /// ```
    pub fn from_boot_args() -> Result<Syslog> {
        Ok(Syslog { collector: args::take("syslog")?, hostname: args::take("hostname")?, ..Syslog::none() })
    }

    fn none() -> Syslog {
        Syslog {
            collector: None,
            hostname: None,
            app_name: app_name().into(),
            facility: Facility::Daemon,
            level: Level::Info,
            data: Vec::new(),
            buffer_len: BUFFER_LEN,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Reaches a collector `tls:` with `connector`, which knows whom to trust.
    #[cfg(feature = "tls")]
    pub fn tls(self, connector: unikernel_tls::TlsConnector) -> Syslog {
        Syslog { tls: Some(connector), ..self }
    }

    /// The machine's name; `hostname=`, or else its first address, unless set.
    pub fn hostname(self, name: impl Into<String>) -> Syslog {
        Syslog { hostname: Some(name.into()), ..self }
    }

    /// The app's name, that of its package unless set.
    pub fn app_name(self, name: impl Into<String>) -> Syslog {
        Syslog { app_name: name.into(), ..self }
    }

    /// [`Facility::Daemon`] unless set.
    pub fn facility(self, facility: Facility) -> Syslog {
        Syslog { facility, ..self }
    }

    /// The most detailed level that is sent; `info` unless set. What the network logs at `debug` for each packet, once there
    /// is such a thing, would be logged for its own packets, too.
    pub fn level(self, level: Level) -> Syslog {
        Syslog { level, ..self }
    }

    /// Structured data for every message, such as where the machine runs.
    pub fn with(mut self, element: Element) -> Syslog {
        self.data.push(element);
        self
    }

    /// What lines that wait may take, in bytes; [`BUFFER_LEN`] unless set.
    pub fn buffer_len(self, len: usize) -> Syslog {
        Syslog { buffer_len: len, ..self }
    }

    /// Starts to send, with the oldest line that is still there. It goes on for as long as the machine lives; a stop in good
    /// order waits up to [a second](crate::limits::FLUSH_TIME_MAX) for the last lines.
    ///
    /// # Errors
    ///
    /// The image has no text of log lines, or a collector `tls:` no `Syslog::tls`.
    pub fn start(self, stack: &Stack) -> Result<Sink> {
        let Some(collector) = self.collector.clone() else { return Ok(Sink { shared: None }) };
        require_text("`syslog=`")?;
        if collector.transport == Transport::Tls && !self.has_tls() {
            return Err(Error::msg(
                "the collector is reached over TLS, but nobody said whom to trust; give `Syslog::tls` a connector with the \
                 collector's roots (feature `tls` of unikernel-syslog)",
            ));
        }
        let shared = Rc::new(Shared::new(self, collector, stack.clone()));
        spawn_named("syslog reader", collect(shared.clone(), Tail::from_oldest()));
        spawn_named("syslog sender", send(shared.clone()));
        lifecycle::on_stop_of(&shared, |shared| async move { shared.flush().await });
        Ok(Sink { shared: Some(shared) })
    }

    fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// A handle to what was started. Dropping it changes nothing. See [`Syslog`] for an example.
#[derive(Clone)]
pub struct Sink {
    shared: Option<Rc<Shared>>,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that the network took.
    pub sent: u64,
    /// Lines that were dropped, as there was no room for them.
    pub lost: u64,
    /// Connections, or names, that failed.
    pub failures: u64,
}

impl Sink {
    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.as_ref().map(|shared| shared.stats.get()).unwrap_or_default()
    }
}

impl core::fmt::Debug for Sink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sink({:?})", self.stats())
    }
}
