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

/// Default routers remembered; RFC 4861, 6.3.4 asks for two at least. More are ignored, so a flood of advertisements
/// cannot push out the ones in use.
pub const ROUTERS_MAX: usize = 8;

/// Networks on the link remembered from advertisements; more are ignored.
pub const PREFIXES_MAX: usize = 16;

/// Options of one advertisement that are looked at: a real one has some ten.
pub const ADVERTISEMENT_OPTIONS_MAX: usize = 64;

/// How long to listen for another owner of a new IPv6 address (RFC 4862, 5.1: one question, RetransTimer).
pub const DUPLICATE_WAIT: Duration = Duration::from_secs(1);

/// Interface identifiers tried after conflicts (RFC 7217, section 7: IDGEN_RETRIES).
pub const IDS_MAX: u8 = 3;

/// The first pause between solicitations of routers (RFC 4861, section 10: RTR_SOLICITATION_INTERVAL).
pub const ROUTER_SOLICIT_FIRST: Duration = Duration::from_secs(4);

/// The longest (RFC 7559, section 2: MRT).
pub const ROUTER_SOLICIT_MAX: Duration = Duration::from_secs(3600);

/// Without proof of its sender an advertisement does not shorten an address's life below this (RFC 4862, 5.5.3).
pub const LIFETIME_UNPROVEN_MIN: Duration = Duration::from_secs(2 * 3600);

/// The smallest MTU of IPv6 (RFC 8200, section 5).
pub const MTU6_MIN: u16 = 1280;

/// A router that asks for fewer hops than this is not heard: it would only cut connections off.
pub const HOP_LIMIT_MIN: u8 = 32;

/// Probes for an IPv4 address that was just configured, and the range of pauses between them (RFC 5227, 1.1:
/// PROBE_NUM, PROBE_MIN, PROBE_MAX).
pub const ARP_PROBES: u8 = 3;
/// See [`ARP_PROBES`].
pub const ARP_PROBE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// Announcements after them, and the pause (RFC 5227, 1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL).
pub const ARP_ANNOUNCEMENTS: u8 = 2;
/// See [`ARP_ANNOUNCEMENTS`].
pub const ARP_ANNOUNCE_PAUSE: Duration = Duration::from_secs(2);

/// An address is defended once in this time (RFC 5227, 1.1: DEFEND_INTERVAL).
pub const ARP_DEFEND_PAUSE: Duration = Duration::from_secs(10);

/// News that nobody has taken yet; the oldest goes first.
pub const EVENTS_MAX: usize = 64;

/// Addresses taken from a DHCPv6 server; we ask for one.
pub const LEASED6_MAX: usize = 4;

/// A server's identifier (RFC 8415, 11.1: 128 bytes and a type).
pub const DUID_LEN_MAX: usize = 130;

/// Options of one DHCPv6 message that are looked at: a real one has some ten.
pub const DHCP6_OPTIONS_MAX: usize = 64;

/// First and longest pause of Solicit, Request, Renew and Rebind, Information-request (RFC 8415, 7.6).
pub const SOLICIT_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// See [`SOLICIT_RETRY`].
pub const REQUEST_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// See [`SOLICIT_RETRY`].
pub const RENEW_RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// See [`SOLICIT_RETRY`].
pub const INFORM_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Requests to one DHCPv6 server (RFC 8415, 7.6: REQ_MAX_RC).
pub const DHCP6_REQUESTS: u8 = 10;

/// What a server may set the longest pause to (RFC 8415, 21.24).
pub const MAX_RT_RANGE: (u32, u32) = (60, 86_400);

/// After this, servers are asked for news, unless they say otherwise, and the least they may say (RFC 8415, 7.6:
/// IRT_DEFAULT, IRT_MINIMUM).
pub const REFRESH_TIME: Duration = Duration::from_secs(86_400);
/// See [`REFRESH_TIME`].
pub const REFRESH_TIME_MIN: Duration = Duration::from_secs(600);

/// Groups joined at once, those of our own addresses included. A report of all of them, 20 bytes each, fits the
/// smallest MTU.
pub const GROUPS_MAX: usize = 48;

/// Between two reports at least: a flood of queries is answered no more often.
pub const GROUP_REPORT_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Unasked reports of a new membership (RFC 3376, 8.11 and RFC 3810, 9.14.1: the robustness variable).
pub const GROUP_REPORTS: u8 = 2;

/// The longest pause between them (RFC 3376, 8.10 and RFC 3810, 9.14: one second).
pub const GROUP_REPORT_PAUSE: Duration = Duration::from_secs(1);

/// A query may ask for answers within this at most: its field holds hours (RFC 3810, 5.1.3), in which a switch would
/// forget us.
pub const QUERY_WAIT_MAX: Duration = Duration::from_secs(60);

/// After a query of version 1 or 2, its form is used for so long (RFC 3376, 8.12: two query intervals and an answer).
pub const OLD_QUERIER_TIME: Duration = Duration::from_secs(260);
