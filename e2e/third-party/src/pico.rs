//! What picoserve wants of a runtime: a clock and sockets.

use core::{cell::RefCell, future::poll_fn};
use picoserve::{
    Timeouts,
    io::{ErrorType, Read, Socket, Write},
    mem::{BorrowedBuffer, BorrowedCursor},
    time::{Duration, Timer},
};
use unikernel_net::{Error, Stream};
use unikernel_rt::time::{self, sleep};

/// Our runtime, as a name for picoserve's types.
pub struct Unikernel;

/// The machine's clock.
pub struct Clock;

impl Timer<Unikernel> for Clock {
    async fn delay(&self, duration: Duration) {
        sleep(time::Duration::from_millis(duration.as_millis())).await;
    }
}

/// A connection that can be borrowed as two halves.
pub struct Connection(pub RefCell<Stream>);

/// One of them.
pub struct Half<'a>(&'a RefCell<Stream>);

impl ErrorType for Half<'_> {
    type Error = Error;
}

impl Read for Half<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.0.borrow_mut().poll_read(cx, buffer)).await
    }
}

impl picoserve::io::BaseWrite for Half<'_> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.0.borrow_mut().poll_write(cx, data)).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// How much of a response picoserve writes at once.
const PIECE_LEN: usize = 1024;

impl Write for Half<'_> {
    async fn write_with<F: FnOnce(BorrowedCursor<'_>) -> R, R>(&mut self, fill: F) -> Result<R, Error> {
        let mut piece = [0; PIECE_LEN];
        let mut piece = BorrowedBuffer::new(&mut piece);
        let result = fill(piece.unfilled());
        picoserve::io::BaseWrite::write_all(self, piece.filled()).await?;
        Ok(result)
    }
}

impl Socket<Unikernel> for Connection {
    type Error = Error;
    type ReadHalf<'a> = Half<'a>;
    type WriteHalf<'a> = Half<'a>;

    fn split(&mut self) -> (Half<'_>, Half<'_>) {
        (Half(&self.0), Half(&self.0))
    }

    async fn abort<T: Timer<Unikernel>>(self, _: &Timeouts, _: &T) -> Result<(), picoserve::Error<Error>> {
        self.0.into_inner().abort();
        Ok(())
    }

    /// The stack ends a dropped connection in good order.
    async fn shutdown<T: Timer<Unikernel>>(self, _: &Timeouts, _: &T) -> Result<(), picoserve::Error<Error>> {
        Ok(())
    }
}
