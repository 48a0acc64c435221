//! HTTPS: [`serve_tls`], and [`Server::serve_tls`].

use crate::{
    Accept, Router, Server,
    connection::Connection,
    server::{Door, Registration, Shared},
};
use alloc::rc::Rc;
use core::{net::SocketAddr, pin::pin};
use embedded_io_async::{Read, Write};
use futures_util::future::{Either, select};
use unikernel_rt::{
    sync::{Permit, Semaphore},
    task::waiting_for,
    time::timeout,
};
use unikernel_tls::{
    TlsAcceptor, TlsStream,
    limits::{CLOSE_TIMEOUT, HANDSHAKES_MAX},
};

/// Serves `router` over TLS on every connection of `listener`, with the default [`Limits`](crate::Limits), until the machine
/// is asked to stop, as [`serve`](crate::serve) does.
///
/// Handshakes have a time limit, and [a bounded number](HANDSHAKES_MAX) of them run at once; further connections wait
/// in the listener's backlog. To change the certificate, keep a clone of `acceptor` and
/// [replace](TlsAcceptor::replace) it there.
#[allow(clippy::missing_errors_doc)]
pub async fn serve_tls(listener: impl Accept, acceptor: TlsAcceptor, router: Router) -> unikernel_rt::Result {
    Server::new(router).serve_tls(listener, acceptor).await;
    Ok(())
}

impl Server {
    /// [`serve`](Self::serve) over TLS: the same router and limits, and the same end. One server can do both, each in
    /// a task.
    pub async fn serve_tls(&self, listener: impl Accept, acceptor: TlsAcceptor) {
        let door = Gate { listener, handshakes: Semaphore::new(HANDSHAKES_MAX) };
        let start =
            |((stream, permit), registration)| run(self.0.clone(), stream, acceptor.clone(), permit, registration);
        self.accept_all("https connection", door, start).await;
    }
}

/// Lets only so many in at once.
struct Gate<A> {
    listener: A,
    handshakes: Semaphore,
}

impl<A: Accept> Door for Gate<A> {
    type Guest = (A::Stream, Permit);

    async fn next(&mut self) -> (Self::Guest, Option<SocketAddr>) {
        // The permit comes first: who has none waits where waiting costs nothing.
        let permit = self.handshakes.acquire().await;
        let stream = self.listener.accept().await;
        let peer = A::peer(&stream);
        ((stream, permit), peer)
    }

    fn close(&mut self) {
        self.listener.close();
    }
}

/// The stream that is encrypted; `None` when there will be none.
async fn shake_hands<S: Read + Write>(shared: &Shared, stream: S, acceptor: &TlsAcceptor) -> Option<TlsStream<S>> {
    // Boxed: the handshake's future is large, and gone when the connection lives.
    let handshake = alloc::boxed::Box::pin(acceptor.accept(stream));
    // Who has not come in when the server stops has sent no request.
    let idle_end = pin!(shared.idle_end());
    match waiting_for("a TLS handshake", select(handshake, idle_end)).await {
        Either::Left((Ok(stream), _)) => Some(stream),
        _ => None,
    }
}

async fn run<S: Read + Write>(
    shared: Rc<Shared>,
    stream: S,
    acceptor: TlsAcceptor,
    permit: Permit,
    registration: Registration,
) {
    let Some(stream) = shake_hands(&shared, stream, &acceptor).await else { return };
    drop(permit);
    let mut connection = Connection::new(stream, shared, registration);
    // However it ended, the client learns that nothing follows.
    let _ = connection.run().await;
    let _ = timeout(CLOSE_TIMEOUT, connection.stream().close()).await;
}
