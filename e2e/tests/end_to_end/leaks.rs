//! Nothing that a machine says or answers in the ordinary course tells where things are at this boot.

use std::process::Command;

use e2e::{
    client::get,
    image,
    vm::{Vm, free_port},
};

const KEY: &str = "a-key-for-this-test-alone";
/// An address so near to one of the layout tells it: image and stacks are smaller, and the heap is here.
const NEAR: u64 = 1 << 30;
/// The bits of an address that say something; those above repeat the last.
const BITS: u64 = (1 << 48) - 1;

/// Takes the line of `report=layout` out of what a machine said: the addresses, and the rest.
fn layout(said: &str) -> (Vec<u64>, String) {
    let (lines, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("layout "));
    assert_eq!(lines.len(), 1, "{said}");
    let values = lines[0].split("=0x").skip(1).map(|rest| rest.split(' ').next().unwrap());
    let addresses: Vec<u64> = values.map(|digits| u64::from_str_radix(digits, 16).unwrap()).collect();
    assert_eq!(addresses.len(), 3, "image, heap and stack in {}", lines[0]);
    (addresses, rest.join("\n"))
}

/// What tells one of these addresses: as hexadecimal digits, as decimal ones, or as it is in memory.
fn told(bytes: &[u8], addresses: &[u64]) -> Vec<String> {
    let is_near = |value: u64| addresses.iter().any(|address| (address & BITS).abs_diff(value & BITS) < NEAR);
    let text = String::from_utf8_lossy(bytes);
    let words = |radix: u32| {
        let words = text.split(move |letter: char| !letter.is_digit(radix)).filter(|word| word.len() > 8);
        words.filter(move |word| u64::from_str_radix(word, radix).is_ok_and(is_near)).map(str::to_owned)
    };
    let in_memory = bytes.windows(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let in_memory = in_memory.filter(|value| value & !BITS == !BITS && is_near(*value));
    words(16).chain(words(10)).chain(in_memory.map(|value| format!("{value:#x} in bytes"))).collect()
}

/// The tables of `cargo unikernel ps` and the like.
fn looked_at(port: u16) -> Vec<Vec<u8>> {
    let look = |words: &str| {
        let mut tool = Command::new(image::tool());
        let (command, more) = words.split_once(' ').unwrap_or((words, ""));
        tool.arg(command).arg(format!("127.0.0.1:{port}")).args(more.split_whitespace());
        let output = tool.env("UNIKERNEL_INSPECT_KEY", KEY).output().expect("the tool starts");
        assert!(output.status.success() && !output.stdout.is_empty(), "{words}: {output:?}");
        output.stdout
    };
    ["ps", "netstat", "ping -n 1", "top -n 1", "log-level"].map(look).into()
}

#[test]
fn no_answer_and_no_line_tells_an_address() {
    let (metrics, inspect) = (free_port(), free_port());
    let ports = format!("--port {metrics}:9090 --port {inspect}:9091 metrics=9090 inspect=9091 inspect-key={KEY}");
    let vm = Vm::serving("e2e-guest", &format!("{ports} report=layout"));
    let mut answers = looked_at(inspect);
    for path in
        ["/number/7", "/stats", "/ports", "/addresses", "/counters", "/time", "/log", "/panic-alone", "/crashes"]
    {
        let response = get(vm.port, path);
        answers.extend([response.head.into_bytes(), response.body]);
    }
    answers.push(get(metrics, "/metrics").body);
    // A task may survive a panic, so the report of one must not tell, either.
    assert!(e2e::client::try_get(vm.port, "/panic").is_err());
    let end = vm.ends();
    assert_eq!(end.code, 101, "{end:?}");
    let (addresses, said) = layout(&end.text);
    assert!(said.matches("panic at").count() >= 2, "{said}");
    answers.push(said.into_bytes());
    for answer in &answers {
        let told = told(answer, &addresses);
        assert!(told.is_empty(), "{told:?} of {addresses:x?} in\n{}", String::from_utf8_lossy(answer));
    }
}

/// Shows that the test above can fail: a fault ends the boot, so its report tells.
#[test]
fn the_report_of_a_fault_tells() {
    let end = Vm::start("selftest", "--net none selftest=write-text report=layout").ends();
    let (addresses, said) = layout(&end.text);
    assert_eq!(end.code, 102, "{said}");
    assert!(!told(said.as_bytes(), &addresses).is_empty(), "{said}");
    assert!(!told(&addresses[1].to_le_bytes(), &addresses).is_empty());
    assert!(!told(format!("at {}", addresses[2]).as_bytes(), &addresses).is_empty());
}
