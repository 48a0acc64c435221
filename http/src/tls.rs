//! HTTPS: [`serve_tls`], and [`Server::serve_tls`].

use crate::{
    Accept, Router, Server,
    connection::Connection,
    server::{Registration, Shared, peer_of},
};
use alloc::rc::Rc;
use core::pin::pin;
use embedded_io_async::{Read, Write};
use futures_util::future::{Either, select};
use unikernel_rt::{
    spawn_named,
    sync::{Permit, Semaphore},
    task::waiting_for,
    time::timeout,
};
use unikernel_tls::{
    TlsAcceptor,
    limits::{CLOSE_TIMEOUT, HANDSHAKES_MAX},
};

/// Serves `router` over TLS on every connection of `listener`, with the default [`Limits`](crate::Limits), for ever.
///
/// Handshakes have a time limit, and [a bounded number](HANDSHAKES_MAX) of them run at once; further connections wait
/// in the listener's backlog. To change the certificate, keep a clone of `acceptor` and
/// [replace](TlsAcceptor::replace) it there.
pub async fn serve_tls(listener: impl Accept, acceptor: TlsAcceptor, router: Router) -> ! {
    Server::new(router).serve_tls(listener, acceptor).await;
    // Nobody else has this server, so nobody stops it.
    core::future::pending().await
}

impl Server {
    /// [`serve`](Self::serve) over TLS: the same router and limits, and the same end. One server can do both, each in
    /// a task.
    pub async fn serve_tls(&self, mut listener: impl Accept, acceptor: TlsAcceptor) {
        let handshakes = Semaphore::new(HANDSHAKES_MAX);
        while !self.0.is_stopping() {
            // The permit comes first: who has none waits where waiting costs nothing.
            let next = async {
                let permit = handshakes.acquire().await;
                (permit, listener.accept().await)
            };
            let stop = self.0.stop.notified();
            let Either::Left(((permit, stream), _)) = waiting_for("a connection", select(pin!(next), stop)).await
            else {
                return;
            };
            let registration = Registration::new(&self.0, peer_of(&listener, &stream));
            let slot = registration.slot;
            let task =
                spawn_named("https connection", run(self.0.clone(), stream, acceptor.clone(), permit, registration));
            self.0.keep_task(slot, task);
        }
    }
}

async fn run<S: Read + Write>(
    shared: Rc<Shared>,
    stream: S,
    acceptor: TlsAcceptor,
    permit: Permit,
    registration: Registration,
) {
    // Boxed: the handshake's future is large, and gone when the connection lives.
    let handshake = alloc::boxed::Box::pin(acceptor.accept(stream));
    let handshake = waiting_for("a TLS handshake", select(handshake, shared.stop.notified()));
    let Either::Left((Ok(stream), _)) = handshake.await else {
        return;
    };
    drop(permit);
    let mut connection = Connection::new(stream, shared, registration);
    // However it ended, the client learns that nothing follows.
    let _ = connection.run().await;
    let _ = timeout(CLOSE_TIMEOUT, connection.stream().close()).await;
}
