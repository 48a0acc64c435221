//! Every bound on what a port learns about its network, with its reason.

use unikernel_rt::time::Duration;

/// Neighbours remembered. A network of 254 hosts fits twice; an entry takes some 100 bytes.
pub const NEIGHBORS_MAX: usize = 512;

/// Neighbours being asked for at once. One more pushes out the oldest question: a neighbour that is there answers
/// within a millisecond, so a flood of packets to absent ones does not hold up the others.
pub const NEIGHBORS_ASKED_MAX: usize = 64;

/// Frames that wait for one neighbour's answer: the first segments of a pool of connections opened at once.
pub const FRAMES_WAITING_PER_NEIGHBOR: usize = 16;

/// Frames that wait for any answer, 1.5 KiB each. The oldest goes first.
pub const FRAMES_WAITING_MAX: usize = 64;

/// Questions for a neighbour before it counts as absent (RFC 4861, section 10: MAX_MULTICAST_SOLICIT and
/// MAX_UNICAST_SOLICIT).
pub const SOLICITATIONS: u8 = 3;

/// Between two questions (RFC 4861, section 10: RETRANS_TIMER; RFC 1122, 2.3.2.1 asks for no more than one a second).
pub const SOLICIT_PAUSE: Duration = Duration::from_secs(1);

/// The bounds for what a router says about [`SOLICIT_PAUSE`].
pub const SOLICIT_PAUSE_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long an answer is good without another sign of life, on average (RFC 4861, section 10: REACHABLE_TIME).
pub const REACHABLE_TIME: Duration = Duration::from_secs(30);

/// The bounds for what a router says about [`REACHABLE_TIME`]; RFC 4861, 6.2.1 allows an hour.
pub const REACHABLE_TIME_RANGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// How long to wait for a sign of life from above before asking (RFC 4861, section 10: DELAY_FIRST_PROBE_TIME).
pub const DELAY_FIRST_PROBE: Duration = Duration::from_secs(5);

/// How long an absent neighbour is not asked for again: as long as another series of questions would take.
pub const ABSENT_TIME: Duration = Duration::from_secs(3);

/// A claim on a neighbour's address by someone else makes us ask the neighbour, but not more often than this.
pub const SUSPICION_PAUSE: Duration = Duration::from_secs(1);

/// News about absent neighbours that nobody has taken yet; the oldest goes first.
pub const ABSENT_NEWS_MAX: usize = 64;

/// Addresses of one port, link-local ones included: RFC 8504, 5.3 wants several prefixes to work; a router that
/// announces more is out of order.
pub const ADDRESSES_MAX: usize = 16;

/// Routes of one family; a lease of 255 bytes of option 121 holds about 30.
pub const ROUTES_MAX: usize = 32;

/// Servers of one kind (DNS, NTP) from all sources. Resolvers ask three.
pub const SERVERS_MAX: usize = 8;

/// Search domains from all sources; RFC 8106, 5.2 speaks of three and more.
pub const SEARCH_MAX: usize = 8;

/// The shortest MTU a DHCP server may set: every IPv4 host takes datagrams of 576 bytes (RFC 791); what is shorter
/// only serves to slow the machine down.
pub const MTU4_MIN: u16 = 576;

/// DHCP messages sent in [`DHCP_PAUSE`] at most: two make a lease, and three attempts with one are four.
pub const DHCP_BURST: u32 = 6;

/// See [`DHCP_BURST`]; RFC 2131, 3.1.5 asks for ten seconds after a conflict.
pub const DHCP_PAUSE: Duration = Duration::from_secs(10);

/// The first wait for an answer. RFC 2131, 4.1 proposes 4 s; a server that boots in milliseconds should not be
/// held up as long by one lost frame.
pub const DHCP_RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest wait for an answer; RFC 2131, 4.1 stops doubling at 64 s. A sixteenth of a message a second loads no
/// network, and a machine comes back sooner after its server did.
pub const DHCP_RETRY_MAX: Duration = Duration::from_secs(16);

/// Requests for one offer before the next discovery (RFC 2131, 3.1.5 gives four as an example, in 60 s).
pub const DHCP_REQUESTS: u8 = 4;

/// Leases shorter than this are not taken: renewing them would take a message every few seconds.
pub const LEASE_MIN: Duration = Duration::from_secs(20);

/// Between two attempts to renew a lease (RFC 2131, 4.4.5), where the lease is long enough.
pub const RENEW_PAUSE_MIN: Duration = Duration::from_secs(60);

/// A hostname in DHCP messages (RFC 1035, 2.3.4: a label).
pub const HOSTNAME_LEN_MAX: usize = 63;

/// The text of one domain name (RFC 1035, 2.3.4).
pub const DOMAIN_LEN_MAX: usize = 253;
