//! Every bound of the resolver, with its reason.

use unikernel_rt::time::Duration;

/// Servers asked; what a lease or an advertisement names beyond is ignored. The C library of Linux takes three.
pub const SERVERS_MAX: usize = 4;

/// Search domains tried; the C library of Linux took as many for decades (resolv.conf(5), MAXDNSRCH).
pub const SEARCH_DOMAINS_MAX: usize = 6;

/// Names with fewer dots are tried under the search domains first (resolv.conf(5), `ndots`).
pub const NDOTS: usize = 1;

/// How long each server has for its answer, round by round: a server that has to ask others first answers the second
/// time from its cache. Doubling follows RFC 1035, 4.2.1 and RFC 1536, 1.
pub const ROUND_TIMES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// How long an exchange over TCP may take, with its handshake.
pub const TCP_TIME_MAX: Duration = Duration::from_secs(5);

/// How long one question may take in all: every server, every round, every alias.
pub const QUESTION_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a lookup may take in all, over every search domain.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the IPv6 addresses may lag behind the IPv4 addresses before those are used alone (RFC 8305, 3).
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Questions under way at once; further ones wait their turn. Each holds a UDP port.
pub const QUESTIONS_MAX: usize = 64;

/// Longest answer asked for over UDP (DNS Flag Day 2020): no fragments over any link that IPv6 allows.
pub const UDP_ANSWER_LEN_MAX: usize = 1232;

/// Datagrams from the server's address that do not fit the question before the question is asked over TCP: somebody is
/// guessing, since the server knows what it was asked (RFC 5452, 4.3).
pub const MISFITS_MAX: u32 = 3;

/// Aliases followed inside one answer. BIND follows as many (`max-query-restarts`).
pub const ALIASES_MAX: usize = 11;

/// Questions asked for one name, because an alias led out of the answer.
pub const RESTARTS_MAX: usize = 8;

/// Addresses taken from one answer. A client tries a few.
pub const ADDRESSES_MAX: usize = 32;

/// Answers remembered.
pub const CACHE_ENTRIES_MAX: usize = 512;

/// Memory for the answers remembered, in bytes of names, addresses and table entries.
pub const CACHE_LEN_MAX: usize = 64 * 1024;

/// The shortest time an answer is remembered, so that a burst of connections asks once.
pub const TTL_MIN: Duration = Duration::from_secs(1);

/// The longest, whatever the server says: a day, as unbound has it (`cache-max-ttl`).
pub const TTL_MAX: Duration = Duration::from_secs(86_400);

/// The longest time to remember that there is nothing. RFC 2308, 5 allows hours; a service that waits for a name to be
/// created should see it sooner.
pub const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);
