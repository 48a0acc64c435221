//! Connections that come in: [`Listener`].

use crate::{
    stack::Shared,
    stream::{Handle, Stream},
};
use alloc::rc::Rc;
use core::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

/// A port that accepts connections. Dropping it ends that: those that wait for [`accept`](Self::accept) are
/// reset, those accepted before live on.
///
/// Connections are made without the application: when as many as the backlog allows wait, further ones are
/// ignored, and their clients try again.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_net::{Read, Write};
///
#[doc = include_str!("pair.md")]
/// let mut listener = server.listen(0)?;
/// let port = listener.local_port();
/// unikernel_rt::spawn(async move {
///     loop {
///         let mut stream = listener.accept().await;
///         let _ = stream.write_all(format!("hello, {}", stream.peer().ip()).as_bytes()).await;
///     }
/// });
/// # let mut bytes = [0; 64];
/// # for _ in 0..2 {
/// #     let mut stream = client.connect(("10.0.0.2".parse::<std::net::IpAddr>()?, port).into()).await?;
/// #     let len = stream.read(&mut bytes).await?;
/// #     assert_eq!(&bytes[..len], b"hello, 10.0.0.1");
/// # }
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Listener {
    shared: Rc<Shared>,
    port: u16,
}

impl Listener {
    pub(crate) fn new(shared: Rc<Shared>, port: u16) -> Listener {
        Listener { shared, port }
    }

    /// The next connection, in the order in which their handshakes were completed. Cancel safe: a dropped
    /// future takes none.
    pub async fn accept(&mut self) -> Stream {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`accept`](Self::accept) for futures written by hand.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Stream> {
        let id = self.shared.net.borrow_mut().poll_accept(self.port, cx.waker());
        id.map(|id| Stream::new(Handle::new(self.shared.clone(), id)))
    }

    /// Refuses connections that begin from now on. Those whose handshake has begun can still be accepted, so that
    /// nobody is cut off who was let in.
    pub fn close(&mut self) {
        self.shared.net.borrow_mut().close_listener(self.port);
    }

    /// The port it listens on.
    pub fn local_port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.net.borrow_mut().unlisten(self.port);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener(port {})", self.port)
    }
}
