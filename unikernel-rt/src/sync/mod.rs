//! Passing values and turns between the tasks of one core. Nothing here is `Send`: no locks, no atomics.

mod channel;
mod notify;
mod oneshot;
mod semaphore;
mod wait_list;

pub use channel::{Closed, Receiver, Sender, channel};
pub use notify::Notify;
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use semaphore::{Permit, Semaphore};
