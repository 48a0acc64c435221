//! Handshakes between our two sides: who is accepted, who is refused and why, what both know afterwards.
#![allow(missing_docs)]

mod common;

use common::{
    connected, pass,
    pki::{Authority, KEYS, Leaf},
    shake,
};
use rcgen::{ExtendedKeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use unikernel_rt::time::{Duration, sleep};
use unikernel_tls::{
    ClientCertificates, Identity, Rejection, Resumption, TlsAcceptor, TlsConnector, TlsError, TlsVersion,
};

#[unikernel_rt::test]
async fn every_kind_of_key_serves() {
    for (name, algorithm) in KEYS {
        let authority = Authority::with_key("root", algorithm);
        let leaf = authority.leaf_with(&["a.test"], algorithm, |_| ());
        let acceptor = TlsAcceptor::new(leaf.identity()).unwrap();
        let connector = TlsConnector::new(authority.roots()).unwrap();
        let (mut server, mut client) = connected(&acceptor, &connector, "a.test").await;
        pass(&mut client, &mut server, name.as_bytes()).await;
        pass(&mut server, &mut client, &[7; 100_000]).await;
        assert_eq!(client.info().version(), TlsVersion::Tls13, "{name}");
        assert_eq!(client.info().peer_certificates().len(), 1, "{name}");
        assert_eq!(server.info().server_name(), Some("a.test"), "{name}");
    }
}

/// What a client says to a server's certificate.
async fn refusal(leaf: &Leaf, roots: &Authority, name: &str) -> TlsError {
    let acceptor = TlsAcceptor::new(leaf.identity()).unwrap();
    let connector = TlsConnector::new(roots.roots()).unwrap();
    let (server, client) = shake(&acceptor, &connector, name).await;
    assert!(matches!(server, Err(TlsError::Alert(_))), "the server is told: {server:?}");
    client.expect_err("refused")
}

#[unikernel_rt::test]
async fn bad_certificates_are_refused_with_the_reason() {
    let root = Authority::new("root");
    let other = Authority::new("root");
    let between = root.intermediate("between");
    let changed =
        |change: fn(&mut rcgen::CertificateParams)| root.leaf_with(&["a.test"], &PKCS_ECDSA_P256_SHA256, change);
    let rows: Vec<(&str, Leaf, &str, &str)> = vec![
        (
            "expired",
            changed(|params| params.not_after = date_time_ymd(2025, 12, 31)),
            "a.test",
            "expired on 2025-12-31 00:00 UTC; the clock here says 2026-01-01 00:00 UTC",
        ),
        (
            "early",
            changed(|params| params.not_before = date_time_ymd(2026, 1, 2)),
            "a.test",
            "valid from 2026-01-02 00:00 UTC on; the clock here says 2026-01-01 00:00 UTC",
        ),
        ("wrong name", root.leaf(&["b.test", "*.c.test"]), "a.test", "issued for b.test, *.c.test, not for a.test"),
        ("deeper than the star", root.leaf(&["*.test"]), "a.b.test", "issued for *.test, not for a.b.test"),
        ("wrong address", root.leaf(&["10.0.0.1"]), "10.0.0.2", "issued for 10.0.0.1, not for 10.0.0.2"),
        ("unknown authority", other.leaf(&["a.test"]), "a.test", "a signature is wrong"),
        ("other name of the authority", Authority::new("x").leaf(&["a.test"]), "a.test", "unknown issuer"),
        ("truncated chain", between.leaf(&["a.test"]), "a.test", "unknown issuer"),
        ("self-signed", Leaf::self_signed(&["a.test"]), "a.test", "unknown issuer"),
        (
            "for clients only",
            changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "a.test",
            "not issued for this use",
        ),
    ];
    for (row, leaf, name, text) in rows {
        let error = refusal(&leaf, &root, name).await;
        assert!(matches!(error, TlsError::Certificate(_)), "{row}: {error:?}");
        assert!(error.to_string().contains(text), "{row}: {error}");
    }
    let acceptor = TlsAcceptor::new(between.leaf(&["a.test"]).with(&between).identity()).unwrap();
    connected(&acceptor, &TlsConnector::new(root.roots()).unwrap(), "a.test").await;
}

#[unikernel_rt::test]
async fn addresses_and_stars_are_names() {
    let root = Authority::new("root");
    let connector = TlsConnector::new(root.roots()).unwrap();
    let names = ["10.0.0.1", "2001:db8::1", "*.star.test"];
    let acceptor = TlsAcceptor::new(root.leaf(&names).identity()).unwrap();
    for name in ["10.0.0.1", "2001:db8::1", "a.star.test", "A.Star.Test"] {
        connected(&acceptor, &connector, name).await;
    }
    let (_, client) = shake(&acceptor, &connector, "not a name!").await;
    assert!(client.is_err());
}

#[unikernel_rt::test]
async fn the_name_chooses_among_identities() {
    let root = Authority::new("root");
    let connector = TlsConnector::new(root.roots()).unwrap();
    let identity = |name: &str| root.leaf(&[name]).identity();
    let acceptor = TlsAcceptor::builder(identity("first.test"))
        .identity(identity("*.b.test"))
        .identity(identity("c.test"))
        .build()
        .unwrap();
    for name in ["first.test", "x.b.test", "c.test"] {
        let (server, client) = connected(&acceptor, &connector, name).await;
        assert_eq!(server.info().server_name(), Some(name));
        assert_eq!(client.info().server_name(), Some(name));
    }
    // Whoever asks for a name that is not there gets the first one, and refuses it.
    let (_, client) = shake(&acceptor, &connector, "d.test").await;
    assert!(matches!(client, Err(TlsError::Certificate(Rejection::WrongName { .. }))));
}

#[unikernel_rt::test]
async fn protocols_are_chosen_by_the_server() {
    let root = Authority::new("root");
    let rows: [(&[&str], &[&str], Option<&str>); 4] = [
        (&["h2", "http/1.1"], &["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&[], &["h2"], None),
        (&["h2"], &[], None),
    ];
    for (server, client, expected) in rows {
        let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity()).alpn(server).build().unwrap();
        let connector = TlsConnector::builder(root.roots()).alpn(client).build().unwrap();
        let (server, client) = connected(&acceptor, &connector, "a.test").await;
        assert_eq!(server.info().alpn(), expected.map(str::as_bytes));
        assert_eq!(client.info().alpn(), expected.map(str::as_bytes));
    }
    let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity()).alpn(&["h2"]).build().unwrap();
    let connector = TlsConnector::builder(root.roots()).alpn(&["ftp"]).build().unwrap();
    let (server, client) = shake(&acceptor, &connector, "a.test").await;
    assert!(server.is_err());
    assert_eq!(client.err(), Some(TlsError::Alert(120)), "no_application_protocol");
}

#[unikernel_rt::test]
async fn clients_show_certificates() {
    let (root, clients, strangers) = (Authority::new("root"), Authority::new("clients"), Authority::new("strangers"));
    let server = root.leaf(&["a.test"]);
    let good = clients.leaf(&["client"]);
    let bad = strangers.leaf(&["client"]);
    let optional = || ClientCertificates::Optional(clients.roots());
    let required = || ClientCertificates::Required(clients.roots());
    // The server's demand, the client's certificate, how many certificates the server sees; `None` if it refuses.
    let rows: Vec<(ClientCertificates, Option<&Leaf>, Option<usize>)> = vec![
        (ClientCertificates::Ignored, Some(&good), Some(0)),
        (optional(), None, Some(0)),
        (optional(), Some(&good), Some(1)),
        (optional(), Some(&bad), None),
        (required(), None, None),
        (required(), Some(&good), Some(1)),
        (required(), Some(&bad), None),
    ];
    for (row, (demand, leaf, seen)) in rows.into_iter().enumerate() {
        let acceptor = TlsAcceptor::builder(server.identity()).client_certificates(demand).build().unwrap();
        let builder = TlsConnector::builder(root.roots());
        let builder = match leaf {
            Some(leaf) => builder.identity(leaf.identity()),
            None => builder,
        };
        let (server, client) = shake(&acceptor, &builder.build().unwrap(), "a.test").await;
        match (seen, server) {
            (Some(seen), Ok(server)) => assert_eq!(server.info().peer_certificates().len(), seen, "row {row}"),
            (None, Err(TlsError::Certificate(_))) => {
                // In TLS 1.3 the client is done before the server looks at its certificate: the next read tells.
                let error = embedded_io_async::Read::read(&mut client.unwrap(), &mut [0]).await.err();
                assert!(matches!(error, Some(TlsError::Alert(_))), "row {row}: {error:?}");
            }
            (seen, server) => panic!("row {row}: {server:?} instead of {seen:?}"),
        }
    }
}

#[unikernel_rt::test]
async fn sessions_are_resumed() {
    let root = Authority::new("root");
    for (resumption, resumes) in [(Resumption::Tickets, true), (Resumption::Cache, true), (Resumption::Off, false)] {
        let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity()).resumption(resumption).build().unwrap();
        let connector = TlsConnector::new(root.roots()).unwrap();
        for connection in 0..4 {
            let (mut server, mut client) = connected(&acceptor, &connector, "a.test").await;
            // Tickets come with the first data.
            pass(&mut server, &mut client, b"hello").await;
            let expected = resumes && connection > 0;
            assert_eq!(client.info().is_resumed(), expected, "{resumption:?}, connection {connection}");
            assert_eq!(server.info().is_resumed(), expected, "{resumption:?}, connection {connection}");
            assert_eq!(server.info().server_name(), Some("a.test"));
        }
        // Nobody resumes without having asked for it.
        let other = TlsConnector::builder(root.roots()).resumption(false).build().unwrap();
        assert!(!connected(&acceptor, &other, "a.test").await.1.info().is_resumed());
    }
}

/// The same sessions would let a client around a new demand for certificates.
#[unikernel_rt::test]
async fn new_settings_void_old_tickets() {
    let root = Authority::new("root");
    let identity = root.leaf(&["a.test"]).identity();
    let acceptor = TlsAcceptor::new(identity.clone()).unwrap();
    let connector = TlsConnector::new(root.roots()).unwrap();
    let (mut server, mut client) = connected(&acceptor, &connector, "a.test").await;
    pass(&mut server, &mut client, b"ticket").await;
    let required = ClientCertificates::Required(root.roots());
    acceptor.replace_settings(TlsAcceptor::builder(identity).client_certificates(required).build().unwrap());
    let (refused, _) = shake(&acceptor, &connector, "a.test").await;
    assert_eq!(refused.err(), Some(TlsError::Certificate(Rejection::Missing)));
    pass(&mut server, &mut client, b"the old connection goes on").await;
}

#[unikernel_rt::test]
async fn identities_are_replaced_while_connections_live() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let acceptor = TlsAcceptor::new(old.leaf(&["a.test"]).identity()).unwrap();
    let (old_client, new_client) = (TlsConnector::new(old.roots()).unwrap(), TlsConnector::new(new.roots()).unwrap());
    let (mut server, mut client) = connected(&acceptor, &old_client, "a.test").await;
    assert!(shake(&acceptor, &new_client, "a.test").await.1.is_err());
    acceptor.clone().replace(new.leaf(&["a.test"]).identity());
    connected(&acceptor, &new_client, "a.test").await;
    pass(&mut server, &mut client, &[1; 50_000]).await;
    pass(&mut client, &mut server, &[2; 50_000]).await;
    // What was begun before goes to its end with what it began with.
    let (wire, peer) = common::wires(64 * 1024);
    let accepting = unikernel_rt::spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.accept(wire).await.map(drop) }
    });
    sleep(Duration::from_millis(1)).await;
    acceptor.replace(old.leaf(&["a.test"]).identity());
    old_client.connect("a.test", peer).await.unwrap();
    accepting.await.unwrap().unwrap();
}

#[unikernel_rt::test]
async fn a_silent_peer_is_given_up() {
    let root = Authority::new("root");
    let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity())
        .handshake_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let (wire, _peer) = common::wires(1024);
    let start = unikernel_rt::time::Instant::now();
    assert_eq!(acceptor.accept(wire).await.err(), Some(TlsError::TimedOut));
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let (wire, peer) = common::wires(1024);
    drop(peer);
    assert_eq!(acceptor.accept(wire).await.err(), Some(TlsError::Truncated));
}

#[test]
fn identities_that_cannot_be_used_say_why() {
    let root = Authority::new("root");
    let (one, two) = (root.leaf(&["a.test"]), root.leaf(&["a.test"]));
    let rows = [
        (String::new(), "no `BEGIN CERTIFICATE`"),
        (one.chain.clone(), "no private key"),
        (one.key.clone(), "no `BEGIN CERTIFICATE`"),
        (one.chain.clone() + &two.key, "the private key is not the certificate's"),
    ];
    for (bundle, reason) in rows {
        let error = Identity::from_pem(bundle.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    Identity::from_pem((one.key + &one.chain).as_bytes()).unwrap();
}
