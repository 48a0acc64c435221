//! What the two directions of a connection tell each other: keys to renew, alerts to send.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use rustls::{
    ConnectionTrafficSecrets, Error, client::ClientConnectionData, kernel::KernelConnection,
    server::ServerConnectionData,
};

/// What remains of rustls' connection after the handshake: it derives new keys and keeps tickets.
pub(crate) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// Shared by [`Receiver`](crate::receiver::Receiver) and [`Sender`](crate::sender::Sender).
pub(crate) struct Link {
    kernel: RefCell<Kernel>,
    /// The peer asked for new keys in the other direction, too (RFC 8446, 4.6.3).
    wants_key_update: Cell<bool>,
    /// Level and description of an alert to send (RFC 8446, 6).
    alert: Cell<Option<[u8; 2]>>,
}

/// Where the traffic goes.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Out,
    In,
}

impl Link {
    pub(crate) fn new(kernel: Kernel) -> Rc<Link> {
        Rc::new(Link { kernel: RefCell::new(kernel), wants_key_update: Cell::new(false), alert: Cell::new(None) })
    }

    /// The keys after the present ones.
    pub(crate) fn next_secrets(&self, way: Way) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match (&mut *self.kernel.borrow_mut(), way) {
            (Kernel::Server(kernel), Way::Out) => kernel.update_tx_secret(),
            (Kernel::Server(kernel), Way::In) => kernel.update_rx_secret(),
            (Kernel::Client(kernel), Way::Out) => kernel.update_tx_secret(),
            (Kernel::Client(kernel), Way::In) => kernel.update_rx_secret(),
        }
    }

    /// Keeps a ticket. Only servers send them.
    pub(crate) fn keep_ticket(&self, payload: &[u8]) -> Result<(), Error> {
        match &mut *self.kernel.borrow_mut() {
            Kernel::Client(kernel) => kernel.handle_new_session_ticket(payload),
            Kernel::Server(_) => Err(rustls::PeerMisbehaved::KeyUpdateReceivedInQuicConnection.into()),
        }
    }

    pub(crate) fn ask_key_update(&self) {
        self.wants_key_update.set(true);
    }

    pub(crate) fn take_key_update(&self) -> bool {
        self.wants_key_update.take()
    }

    /// The first alert counts: it names the cause.
    pub(crate) fn send_alert(&self, alert: [u8; 2]) {
        if self.alert.get().is_none() {
            self.alert.set(Some(alert));
        }
    }

    pub(crate) fn take_alert(&self) -> Option<[u8; 2]> {
        self.alert.take()
    }
}
