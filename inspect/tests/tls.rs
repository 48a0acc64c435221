//! Looking inside over TLS.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../tls/tests/common/pki.rs"]
mod pki;

use pki::Authority;
use std::net::{Ipv4Addr, SocketAddr};
use unikernel_inspect::Inspect;
use unikernel_net::{Config, Ipv4Cidr, Read, Stack, Write};
use unikernel_rt::{
    Acquire, Machine,
    sim::{Faults, cable},
};
use unikernel_tls::{ClientCertificates, Identity, TlsAcceptor, TlsConnector};

const PORT: u16 = 9091;

fn stack(port: unikernel_rt::sim::SimPort, last: u8) -> Stack {
    let address = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, last), 24).unwrap();
    Stack::new(Box::new(port), Config::fixed(address))
}

/// What the boot arguments `inspect=9091`, without a key, say.
async fn from_arguments() -> Inspect {
    Inspect::acquire(&mut Machine::new()).await.unwrap()
}

/// The first line of the answer to a request without a key, if any comes.
async fn ask(client: &Stack, connector: &TlsConnector) -> Option<String> {
    let server = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 2).into(), PORT);
    let stream = client.connect(server).await.ok()?;
    let mut tls = connector.connect("a.test", stream).await.ok()?;
    tls.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
    let mut bytes = [0; 1024];
    let len = tls.read(&mut bytes).await.ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).lines().next()?.to_owned())
}

#[test]
fn a_certificate_is_as_good_as_a_key() {
    unikernel_rt::sim::run("inspect=9091", async {
        let (left, right) = cable(Faults::NONE);
        let (client, server) = (stack(left, 1), stack(right, 2));
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        let identity = || -> Identity { root.leaf(&["a.test"]).identity() };
        let required = ClientCertificates::Required(clients.roots());
        let acceptor = TlsAcceptor::builder(identity()).client_certificates(required).build().unwrap();
        from_arguments().await.open_tls(&server, acceptor).unwrap();
        let known = TlsConnector::builder(root.roots()).identity(clients.leaf(&["client"]).identity());
        assert_eq!(ask(&client, &known.build().unwrap()).await.unwrap(), "HTTP/1.1 200 OK");
        let unknown = TlsConnector::builder(root.roots()).identity(root.leaf(&["client"]).identity());
        for connector in [unknown, TlsConnector::builder(root.roots())] {
            assert_eq!(ask(&client, &connector.build().unwrap()).await, None);
        }
    });
}

#[test]
fn without_key_and_certificate_nothing_opens() {
    unikernel_rt::sim::run("inspect=9091", async {
        let (_left, right) = cable(Faults::NONE);
        let server = stack(right, 2);
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        let optional = ClientCertificates::Optional(clients.roots());
        let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity()).client_certificates(optional);
        let error = from_arguments().await.open_tls(&server, acceptor.build().unwrap()).unwrap_err();
        assert!(error.to_string().contains("inspect-key=KEY"));
        assert!(server.listen(PORT).is_ok(), "nobody listens there");
    });
}
