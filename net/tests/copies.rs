//! Machines that are started from one snapshot: their sequence numbers have nothing in common.
#![allow(missing_docs)]

mod common;

use common::{
    CLIENT, SERVER, fixed,
    raw::{ACK, RST, SYN, Tcp, arp_reply},
    server_and_port,
};
use std::net::SocketAddr;
use unikernel_rt::{
    device::NetDevice,
    sim::{SimPort, set_vm_generation},
    spawn,
    time::{Duration, Instant, sleep},
};

async fn heard(port: &mut SimPort) -> Vec<Tcp> {
    sleep(Duration::from_millis(1)).await;
    std::iter::from_fn(|| port.receive()).filter_map(|frame| Tcp::parse(&frame)).collect()
}

/// The server's first number for a connection of these ends, less the clock in it (RFC 6528, 3): the secret part.
async fn secret_part(port: &mut SimPort, client: u16, server: u16) -> u32 {
    let syn = Tcp::syn(client, server, 1000);
    let now = Instant::now();
    port.transmit(syn.frame()).unwrap();
    let [answer] = &heard(port).await[..] else { panic!("one answer") };
    assert_eq!(answer.flags, SYN | ACK);
    port.transmit(Tcp { flags: RST, sequence: 1001, ..syn }.frame()).unwrap();
    assert_eq!(heard(port).await.len(), 0);
    answer.sequence.wrapping_sub(clock(now))
}

fn clock(now: Instant) -> u32 {
    (now.as_micros() / 4) as u32
}

#[unikernel_rt::test]
async fn a_copy_answers_with_other_numbers() {
    let (mut port, server) = server_and_port(fixed(SERVER));
    let _listener = server.listen(7).unwrap();
    let before = secret_part(&mut port, 5000, 7).await;
    assert_eq!(secret_part(&mut port, 5000, 7).await, before);
    set_vm_generation([5, 6]);
    assert_ne!(secret_part(&mut port, 5000, 7).await, before);
}

#[unikernel_rt::test]
async fn the_first_connection_of_a_copy_has_other_numbers() {
    let (mut port, server) = server_and_port(fixed(SERVER));
    set_vm_generation([5, 6]);
    let connecting = server.clone();
    let begun = spawn(async move {
        let now = Instant::now();
        let _ = connecting.connect(SocketAddr::new(CLIENT.into(), 7)).await;
        now
    });
    // It asks for the way first.
    assert_eq!(heard(&mut port).await.len(), 0);
    port.transmit(arp_reply()).unwrap();
    let [syn] = &heard(&mut port).await[..] else { panic!("one SYN") };
    let refusal =
        Tcp { source: 7, destination: syn.source, acknowledgement: syn.sequence.wrapping_add(1), ..syn.clone() };
    port.transmit(Tcp { from: CLIENT, flags: RST | ACK, sequence: 0, ..refusal }.frame()).unwrap();
    let secret = syn.sequence.wrapping_sub(clock(begun.await.unwrap()));
    // The same ends, the other way round: the numbers of the copy were already used for the connection.
    let _listener = server.listen(syn.source).unwrap();
    assert_eq!(secret_part(&mut port, 7, syn.source).await, secret);
}
