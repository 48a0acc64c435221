//! Listings of the page "Logs".

use unikernel_net::Stack;
use unikernel_rt::{
    Modules,
    log::{
        info,
        tail::{Level, Tail},
        warn,
    },
};
use unikernel_syslog::{Element, Facility, Syslog};
use unikernel_tls::{Roots, TlsConnector};

/// Lines of an app.
// ANCHOR: lines
pub fn tell(customer: &str, items: usize) {
    info!("{} has {} items", customer, items);
    if items > 1000 {
        warn!("{} has more than fits a cart", customer);
    }
}
// ANCHOR_END: lines

/// An app that sends its lines where `syslog=` says.
// ANCHOR: start
pub async fn main(stack: Stack, syslog: Syslog) -> unikernel_rt::Result {
    syslog.start(&stack)?;
    // …
    Ok(())
}
// ANCHOR_END: start

/// The same with TLS, to a collector that a certificate in a boot module vouches for.
// ANCHOR: tls
pub async fn main_with_tls(stack: Stack, syslog: Syslog, mut modules: Modules) -> unikernel_rt::Result {
    let roots = Roots::from_pem(modules.take("ca.pem")?)?;
    syslog
        .tls(TlsConnector::new(roots)?)
        .facility(Facility::Local0)
        .with(Element::new("place@32473").with("zone", "a"))
        .start(&stack)?;
    // …
    Ok(())
}
// ANCHOR_END: tls

/// Calls `alarm` for every error, wherever it was logged.
// ANCHOR: tail
pub async fn watch(mut alarm: impl FnMut(&str, &str)) {
    let mut tail = Tail::from_oldest();
    loop {
        let record = tail.next().await;
        if record.level == Level::Error {
            alarm(&record.target, &record.message);
        }
    }
}
// ANCHOR_END: tail

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{rc::Rc, string::String};
    use core::cell::RefCell;
    use unikernel_rt::{log::error, time};

    #[unikernel_rt::test]
    async fn errors_are_heard() {
        let heard = Rc::new(RefCell::new(String::new()));
        let into = heard.clone();
        unikernel_rt::spawn(watch(move |target, message| *into.borrow_mut() += &alloc::format!("{target}: {message}")));
        tell("Ann", 2000);
        error!("no paper");
        time::sleep(time::Duration::from_secs(1)).await;
        assert_eq!(*heard.borrow(), "book_listings::logs::tests: no paper");
    }
}
