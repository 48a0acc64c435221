//! `examples/visits` counts in a real Redis.

use e2e::{
    PATIENCE,
    client::{self, Response, get},
    server::Server,
    vm::{Vm, free_port},
};
use std::{thread, time::Instant};

/// Asks until the answer has this status.
fn until(vm: &Vm, status: u16) -> Response {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = get(vm.port, "/");
        if response.status == status {
            return response;
        }
        assert!(Instant::now() < deadline, "no {status}: {response:?}\n{}", vm.said());
        // The machine connects by itself, and has no way to tell.
        thread::sleep(client::PAUSE);
    }
}

fn text(response: Response) -> String {
    String::from_utf8(response.body).unwrap()
}

#[test]
fn visits_are_counted_and_a_restarted_redis_is_found_again() {
    let redis = Server::redis(free_port());
    let port = redis.port;
    let vm = Vm::serving("visits", &redis.word("redis"));
    let first = text(until(&vm, 200));
    let before: u64 = first.trim_start_matches("visit ").trim_end().parse().unwrap();
    for count in before + 1..before + 100 {
        assert_eq!(text(get(vm.port, "/")), format!("visit {count}\n"));
    }
    drop(redis);
    let refused = until(&vm, 503);
    assert!(text(refused).contains(&format!("Redis at 10.0.2.2:{port} is away: ")), "{}", vm.said());
    let _redis = Server::redis(port);
    // This Redis keeps nothing over a restart.
    assert_eq!(text(until(&vm, 200)), "visit 1\n");
}

#[test]
fn two_machines_count_together() {
    let redis = Server::redis(free_port());
    let vms = [(); 2].map(|()| Vm::serving("visits", &redis.word("redis")));
    let count = |vm| text(until(vm, 200)).trim_start_matches("visit ").trim_end().parse::<u64>().unwrap();
    let first = count(&vms[0]);
    let second = count(&vms[1]);
    assert!(second > first, "{first} {second}");
    assert_eq!(count(&vms[0]), second + 1);
}

#[test]
fn without_an_address_it_says_what_is_missing() {
    for (words, reason) in [("", "redis=HOST:PORT"), ("redis=nowhere", "expected HOST:PORT")] {
        let end = Vm::start("visits", words).ends();
        assert!(end.code == 1 && end.text.contains(reason), "{end:?}");
    }
}
