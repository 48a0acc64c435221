//! Sessions kept in memory, bounded: a client's tickets, and a server's sessions where it issues no tickets.

use crate::limits::{CLIENT_SERVERS_MAX, CLIENT_TICKETS_MAX};
use alloc::{collections::VecDeque, vec::Vec};
use core::fmt;
use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
    server::StoresServerSessions,
};
use spin::Mutex;
use zeroize::Zeroizing;

/// Values by key; the oldest goes when it is full.
struct Bounded<K, V> {
    entries: VecDeque<(K, V)>,
    len_max: usize,
}

impl<K: PartialEq, V> Bounded<K, V> {
    fn new(len_max: usize) -> Bounded<K, V> {
        Bounded { entries: VecDeque::new(), len_max }
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.iter_mut().find(|entry| entry.0 == *key).map(|entry| &mut entry.1)
    }

    fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        if self.entries.len() >= self.len_max {
            self.entries.pop_front();
        }
        self.entries.push_back((key, value));
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.entries.iter().position(|entry| entry.0 == *key)?;
        self.entries.remove(at).map(|entry| entry.1)
    }
}

/// What a server remembers of its clients: master secrets, which are wiped when they go. A look-up takes time in proportion to the bound, of which the comparison of
/// a thousand random ids is below a hundredth of a handshake.
pub(crate) struct ServerSessions(Mutex<Bounded<Vec<u8>, Zeroizing<Vec<u8>>>>);

impl ServerSessions {
    pub(crate) fn new(len_max: usize) -> ServerSessions {
        ServerSessions(Mutex::new(Bounded::new(len_max)))
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.lock().insert(key, Zeroizing::new(value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().get_mut(&key.to_vec()).map(|value| value.to_vec())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().remove(&key.to_vec()).map(|mut value| core::mem::take(&mut *value))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSessions")
    }
}

/// What a client remembers of its servers.
pub(crate) struct ClientSessions(Mutex<Bounded<ServerName<'static>, Server>>);

#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl ClientSessions {
    pub(crate) fn new() -> ClientSessions {
        ClientSessions(Mutex::new(Bounded::new(CLIENT_SERVERS_MAX)))
    }

    fn edit(&self, name: ServerName<'static>, edit: impl FnOnce(&mut Server)) {
        let mut servers = self.0.lock();
        if servers.get_mut(&name).is_none() {
            servers.insert(name.clone(), Server::default());
        }
        if let Some(server) = servers.get_mut(&name) {
            edit(server);
        }
    }

    fn look<T>(&self, name: &ServerName<'_>, look: impl FnOnce(&mut Server) -> Option<T>) -> Option<T> {
        self.0.lock().get_mut(&name.to_owned()).and_then(look)
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.edit(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.look(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.edit(name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.look(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.look(name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.edit(name, |server| {
            if server.tls13.len() >= CLIENT_TICKETS_MAX {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
    }

    /// The newest first; each once (RFC 8446, C.4).
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.look(name, |server| server.tls13.pop_back())
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}
