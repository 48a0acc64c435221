//! Two machines from one snapshot.

use std::collections::BTreeSet;

use e2e::{client, qmp::Qmp, vm::Vm};

/// Numbers that two clones of one machine draw.
fn drawn_by_twins(guid: &str, cpu: &str) -> [BTreeSet<String>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("qmp"), folder.path().join("saved"));
    let devices = format!("-device vmgenid,guid={guid} -cpu {cpu}");
    let first = Vm::serving_with("e2e-guest", "--machine q35", &format!("{devices} {}", Qmp::arguments(&socket)));
    Qmp::connect(&socket).save(&file);
    drop(first);
    [(); 2].map(|()| {
        let twin = Vm::serving_with("e2e-guest", "--machine q35", &format!("{devices} {}", Qmp::incoming(&file)));
        let numbers = String::from_utf8(client::get(twin.port, "/random").body).unwrap();
        numbers.lines().map(str::to_owned).collect()
    })
}

/// Neither has a source of randomness of its own after the snapshot, so it is the id that tells them apart.
const NO_SOURCE: &str = "max,-rdrand,-rdseed";

#[test]
fn clones_draw_numbers_of_their_own() {
    for cpu in ["max", NO_SOURCE] {
        let [one, other] = drawn_by_twins("auto", cpu);
        assert_eq!((one.len(), other.len()), (64, 64), "{cpu}");
        assert!(one.is_disjoint(&other), "{cpu}: {one:?} {other:?}");
    }
}

/// Shows that the test above can fail.
#[test]
fn clones_with_one_id_draw_the_same() {
    let [one, other] = drawn_by_twins("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87", NO_SOURCE);
    assert!(!one.is_disjoint(&other), "{one:?} {other:?}");
}
