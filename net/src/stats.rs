//! What the stack counts.

/// A snapshot of the stack. Counters never go back.
///
/// By [`Stack::stats`](crate::Stack::stats):
///
/// ```
/// # unikernel_rt::sim::run("", async {
#[doc = include_str!("pair.md")]
/// # let mut listener = server.listen(7)?;
/// let stream = client.connect("10.0.0.2:7".parse()?).await?;
/// let accepted = listener.accept().await;
/// let stats = server.stats();
/// assert_eq!((stats.accepted, stats.flows, stats.by_state.owned), (1, 1, 1));
///
/// // Nobody listens there.
/// assert!(client.connect("10.0.0.2:8".parse()?).await.is_err());
/// assert_eq!(server.stats().drops.unmatched, 1);
/// # drop((stream, accepted));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections in all states, half-open and ownerless ones included.
    pub flows: usize,
    /// The same by state.
    pub by_state: FlowCounts,
    /// 4-tuples remembered after the connection ended (TIME-WAIT).
    pub time_wait: usize,
    /// What windows beyond the smallest have promised, in bytes.
    pub window_memory: usize,
    /// Bytes of ended connections kept for new ones.
    pub spare_memory: usize,
    /// Packets of which some fragments are missing.
    pub fragmented: usize,
    /// Frames received.
    pub frames_in: u64,
    /// Frames handed to the port.
    pub frames_out: u64,
    /// Connections accepted by a listener, ever.
    pub accepted: u64,
    /// Connections asked for with `connect`, ever.
    pub connects: u64,
    /// SYNs answered with a cookie, because the table of handshakes was full.
    pub cookies: u64,
    /// Packets put together from fragments.
    pub reassembled: u64,
    /// Times data had to be sent again.
    pub retransmits: u64,
    /// Handshakes of others that were completed, ever.
    pub opened: u64,
    /// Connections that are over, ever.
    pub closed: u64,
    /// Connections that the peer reset.
    pub resets_received: u64,
    /// Connections that this side reset; answers to segments of no connection do not count.
    pub resets_sent: u64,
    /// How often one flow was looked at, whatever the reason. Per frame this does not grow with the number of
    /// flows.
    pub flow_polls: u64,
    /// Steps taken in the timer queue: at most the binary logarithm of the flows per change.
    pub timer_steps: u64,
    /// What was thrown away.
    pub drops: Drops,
}

/// Connections by state. See [`Stats`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// `connect` waits for an answer.
    pub connecting: usize,
    /// A SYN came, the handshake is not done.
    pub half_open: usize,
    /// Done, but nobody has accepted it yet.
    pub queued: usize,
    /// Owned by a stream.
    pub owned: usize,
    /// Dropped by its owner and not yet finished.
    pub orphaned: usize,
}

/// Frames and connections thrown away, by cause. See [`Stats`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Not for this machine, or of a protocol it does not speak.
    pub foreign: u64,
    /// Cut off, or with lengths that contradict each other.
    pub malformed: u64,
    /// Fragments, whether or not their packet became whole.
    pub fragments: u64,
    /// TCP or UDP with a wrong checksum.
    pub checksum: u64,
    /// TCP and UDP to a port nobody listens on; the sender was told.
    pub unmatched: u64,
    /// SYNs not answered: too many connections.
    pub connections: u64,
    /// SYNs not answered: too many connections from that source.
    pub per_source: u64,
    /// SYNs not answered: memory is short.
    pub memory: u64,
    /// Datagrams for which their socket had no room.
    pub datagrams: u64,
    /// Resets and other complaints not sent, because there were too many.
    pub complaints: u64,
    /// SYNs not answered and handshakes not completed: the listener's backlog is full.
    pub backlog: u64,
    /// Handshakes that were never completed.
    pub half_open: u64,
    /// Answers to packets for which the port had no room.
    pub no_room: u64,
    /// Ownerless connections ended because they took too long or received too much.
    pub orphans: u64,
}
