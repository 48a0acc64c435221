//! The page on stopping.

use unikernel_rt::lifecycle;

async fn send_the_last_report() {}
async fn write_what_is_in_memory() {}

/// Takes part in a stop.
pub async fn takes_part() {
    // ANCHOR: takes_part
    // A service in a task of its own: the machine goes on until the guard is dropped.
    unikernel_rt::spawn(async {
        let _busy = lifecycle::stopping().await;
        send_the_last_report().await;
    });
    // Work that must not be cut off.
    let busy = lifecycle::busy();
    // Last of all, when all work is finished.
    lifecycle::on_stop(|| async { write_what_is_in_memory().await });
    // ANCHOR_END: takes_part
    drop(busy);
}
