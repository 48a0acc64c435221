//! Lines over TLS, to a collector that is who it should be, and one that is not.

mod common;
#[path = "../../tls/tests/common/pki.rs"]
#[allow(dead_code, missing_docs)]
mod pki;

use common::{COLLECTOR, Received, read_frames, seconds, stacks, to};
use pki::Authority;
use unikernel_net::Stack;
use unikernel_rt::log::info;
use unikernel_tls::{Identity, TlsAcceptor, TlsConnector};

/// Collects over TLS, so many connections; each is closed after its first message.
fn collect(stack: &Stack, identity: Identity, closes: bool) -> Received {
    let received = Received::default();
    let (mut listener, into) = (stack.listen(6514).unwrap(), received.clone());
    let acceptor = TlsAcceptor::new(identity).unwrap();
    unikernel_rt::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await).await else { continue };
            if closes {
                seconds(1).await;
                let _ = stream.close().await;
            }
            read_frames(stream, &into).await;
        }
    });
    received
}

#[unikernel_rt::test]
async fn lines_travel_encrypted() {
    let (machine, collector) = stacks();
    let authority = Authority::new("Logs");
    let received = collect(&collector, authority.leaf(&[&COLLECTOR.to_string()]).identity(), false);
    let sink = to("tls", 6514).tls(TlsConnector::new(authority.roots()).unwrap()).start(&machine).unwrap();
    info!("first");
    received.has("first").await;
    seconds(100).await;
    info!("{}", "long ".repeat(1000));
    info!("last");
    received.has("last").await;
    assert_eq!(received.texts("tls"), ["first", &"long ".repeat(1000), "last"]);
    assert_eq!((sink.stats().lost, sink.stats().failures), (0, 0));
}

#[unikernel_rt::test]
async fn a_stranger_gets_no_line() {
    let (machine, collector) = stacks();
    let (authority, stranger) = (Authority::new("Logs"), Authority::new("Strangers"));
    let received = collect(&collector, stranger.leaf(&[&COLLECTOR.to_string()]).identity(), false);
    let sink = to("tls", 6514).tls(TlsConnector::new(authority.roots()).unwrap()).start(&machine).unwrap();
    info!("secret");
    seconds(300).await;
    assert_eq!((received.all().len(), sink.stats().sent), (0, 0));
    assert!(sink.stats().failures > 3, "{:?}", sink.stats());
}

#[unikernel_rt::test]
async fn a_connection_that_is_closed_is_made_again() {
    let (machine, collector) = stacks();
    let authority = Authority::new("Logs");
    let received = collect(&collector, authority.leaf(&[&COLLECTOR.to_string()]).identity(), true);
    let sink = to("tls", 6514).tls(TlsConnector::new(authority.roots()).unwrap()).start(&machine).unwrap();
    seconds(20).await;
    info!("after some connections");
    received.has("after some connections").await;
    assert!(sink.stats().failures >= 2, "{:?}", sink.stats());
}
