//! Session tickets of a server (RFC 8446, 4.6.1): sealed with keys that only this machine has, and that change.

use crate::{
    crypto::aead::{Algorithm, Key, NONCE_LEN, TAG_LEN},
    limits::TICKET_KEY_LIFETIME,
};
use alloc::vec::Vec;
use core::{fmt, time::Duration};
use rustls::server::ProducesTickets;
use spin::Mutex;
use unikernel_rt::entropy;

/// Bytes that tell keys apart, so that a ticket of a forgotten key costs no decryption.
const NAME_LEN: usize = 8;

/// The present key and the one before.
pub(crate) struct Tickets {
    keys: Mutex<Keys>,
    /// Seconds since 1970, or since boot without a clock; only differences count.
    now: fn() -> Duration,
}

struct Keys {
    current: TicketKey,
    previous: Option<TicketKey>,
    change_at: Duration,
    /// Copies of this machine must not share a key.
    generation: u64,
}

struct TicketKey {
    name: [u8; NAME_LEN],
    key: Key,
}

impl TicketKey {
    fn new() -> TicketKey {
        let (mut name, mut key) = ([0; NAME_LEN], [0; 32]);
        entropy::fill(&mut name);
        entropy::fill(&mut key);
        TicketKey { name, key: Key::new(Algorithm::ChaCha20Poly1305, &key) }
    }

    /// The name, a nonce, the ciphertext and the tag.
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        entropy::fill(&mut nonce);
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + plain.len() + TAG_LEN);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        let start = ticket.len();
        ticket.extend_from_slice(plain);
        let tag = self.key.seal(&nonce, &self.name, &mut ticket[start..]);
        ticket.extend_from_slice(&tag);
        ticket
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (data, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        if *name != self.name {
            return None;
        }
        let mut plain = data.to_vec();
        self.key.open(nonce, name, &mut plain, tag).ok()?;
        Some(plain)
    }
}

impl Keys {
    fn new(now: Duration) -> Keys {
        Keys {
            current: TicketKey::new(),
            previous: None,
            change_at: now + TICKET_KEY_LIFETIME,
            generation: entropy::generation(),
        }
    }
}

impl Tickets {
    pub(crate) fn new(now: fn() -> Duration) -> Tickets {
        let keys = Keys::new(now());
        Tickets { keys: Mutex::new(keys), now }
    }

    fn with_keys<T>(&self, work: impl FnOnce(&Keys) -> T) -> T {
        let mut keys = self.keys.lock();
        let now = (self.now)();
        if keys.generation != entropy::generation() {
            *keys = Keys::new(now);
        }
        if now >= keys.change_at {
            let old = core::mem::replace(&mut keys.current, TicketKey::new());
            // Nobody used the machine for so long that this one's time is over, too.
            let is_fresh = now < keys.change_at + TICKET_KEY_LIFETIME;
            keys.previous = is_fresh.then_some(old);
            keys.change_at = now + TICKET_KEY_LIFETIME;
        }
        work(&keys)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// In seconds: a ticket of a key's last moment lives for one more key.
    fn lifetime(&self) -> u32 {
        TICKET_KEY_LIFETIME.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(self.with_keys(|keys| keys.current.seal(plain)))
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| keys.current.open(ticket).or_else(|| keys.previous.as_ref()?.open(ticket)))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    static NOW: AtomicU64 = AtomicU64::new(1_000_000);

    fn now() -> Duration {
        Duration::from_secs(NOW.load(Ordering::Relaxed))
    }

    /// Draws random numbers, so it needs a machine.
    #[unikernel_rt::test]
    async fn a_ticket_lives_for_its_key_and_the_next() {
        let tickets = Tickets::new(now);
        let ticket = tickets.encrypt(b"secret").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.decrypt(&forged), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        let lifetime = TICKET_KEY_LIFETIME.as_secs();
        NOW.fetch_add(lifetime, Ordering::Relaxed);
        let second = tickets.encrypt(b"second").unwrap();
        assert!(tickets.decrypt(&ticket).is_some() && tickets.decrypt(&second).is_some());
        NOW.fetch_add(lifetime, Ordering::Relaxed);
        assert!(tickets.decrypt(&ticket).is_none() && tickets.decrypt(&second).is_some());
        NOW.fetch_add(2 * lifetime, Ordering::Relaxed);
        assert!(tickets.decrypt(&second).is_none(), "two lifetimes passed unused");
    }

    #[unikernel_rt::test]
    async fn a_copy_of_the_machine_has_keys_of_its_own() {
        let tickets = Tickets::new(|| Duration::ZERO);
        let ticket = tickets.encrypt(b"secret").unwrap();
        assert!(tickets.decrypt(&ticket).is_some());
        unikernel_rt::sim::set_vm_generation([1, 2]);
        assert!(tickets.decrypt(&ticket).is_none());
        let ticket = tickets.encrypt(b"secret").unwrap();
        assert!(tickets.decrypt(&ticket).is_some());
    }
}
