//! What is forbidden ends the machine, and with the protection turned off it does not: so each test can fail.

use e2e::vm::{End, Vm};

/// The image as it is meant to be, and one that takes `unprotected=`.
const PROTECTED: &str = "selftest";
const UNPROTECTED: &str = "selftest+unprotected";

fn run(image: &str, words: &str) -> End {
    Vm::start(image, &format!("--net none {words}")).ends()
}

/// The deed ends the machine with this code and these words, and does not where `protection` is off.
fn check(deed: &str, protection: &str, code: i32, words: &[&str]) {
    let end = run(PROTECTED, &format!("selftest={deed}"));
    let has_words = words.iter().all(|word| end.text.contains(word));
    assert!(end.code == code && has_words && !end.text.contains("survived"), "{deed}: {end:?}");
    let end = run(UNPROTECTED, &format!("selftest={deed} unprotected={protection}"));
    assert!(end.code == 0 && end.text.contains("survived"), "{deed} without {protection}: {end:?}");
}

/// What has no protection to be turned off.
fn dies(words: &str, code: i32, said: &[&str]) {
    let end = run(PROTECTED, words);
    assert!(end.code == code && said.iter().all(|word| end.text.contains(word)), "{words}: {end:?}");
    assert!(!end.text.contains("survived"), "{words}: {end:?}");
}

#[test]
fn nothing_forbidden() {
    let end = run(PROTECTED, "selftest=none");
    assert!(end.code == 0 && end.text.contains("survived"), "{end:?}");
}

#[test]
fn writing_what_is_read_only() {
    for deed in ["write-text", "write-rodata", "write-relro", "write-idt"] {
        check(deed, "read-only", 102, &["page fault", "writing where nothing may be written"]);
    }
}

/// The direct map leaves the image out, so that there is no second way to it.
#[test]
fn writing_to_text_by_another_address() {
    dies("selftest=write-alias", 102, &["page fault"]);
}

#[test]
fn running_data() {
    for deed in ["exec-heap", "exec-stack", "exec-data"] {
        check(deed, "no-execute", 102, &["page fault", "running what is no code"]);
    }
}

#[test]
fn using_pages_of_users() {
    for deed in ["exec-user", "read-user"] {
        check(deed, "cpu", 102, &["page fault"]);
    }
}

#[test]
fn null_pointers() {
    for deed in ["null-read", "null-write", "low-read"] {
        check(deed, "null-page", 102, &["page fault", "null pointer"]);
    }
}

#[test]
fn an_overflow_of_the_stack() {
    check("stack-overflow", "stack-guard", 102, &["stack overflow in task", "selftest::deeds::deeper"]);
}

#[test]
fn misuse_of_the_heap() {
    for deed in ["double-free", "double-free-large", "double-free-in-task"] {
        check(deed, "heap", 101, &["heap: double free of a block of"]);
    }
    for deed in ["foreign-free", "interior-free"] {
        check(deed, "heap", 101, &["heap: free of a pointer that is no block"]);
    }
    check("wrong-size-free", "heap", 101, &["heap: a block of", "was freed as one of"]);
    for deed in ["heap-overflow", "heap-overflow-by-one"] {
        check(deed, "heap", 101, &["heap: a block of", "was written past its end"]);
    }
}

/// Without the watchdog it hangs until the runner's patience ends.
#[test]
fn a_task_that_does_not_wait() {
    let said = [
        "hang: a task has been running for 100 ms",
        "hang: a task has been running for 1000 ms",
        "selftest::deeds::hang",
    ];
    dies("selftest=hang watchdog=100", 105, &said);
    let said =
        ["hang: a task has been running for 100 ms", "hang: a task has been running for 1000 ms", "hang_logging"];
    dies("selftest=hang-logging watchdog=100", 105, &said);
    let end = run(PROTECTED, "--timeout 5 selftest=hang watchdog=100 on-hang=report");
    assert!(end.code == 124 && end.text.matches("hang: a task").count() == 1, "{end:?}");
    let end = run(UNPROTECTED, "--timeout 5 selftest=hang watchdog=100 unprotected=watchdog");
    assert!(end.code == 124 && !end.text.contains("hang: a task"), "{end:?}");
}

#[test]
fn what_a_program_can_do_in_safe_code() {
    dies("selftest=panic", 101, &["panic at vm-tests/selftest/src/deeds.rs:", "asked to panic"]);
    dies("selftest=panic-in-task", 101, &["asked to panic in a task"]);
    dies("selftest=out-of-memory", 103, &["out of memory"]);
}

/// In the release image, where it is asked for.
#[test]
fn an_overflow_of_numbers() {
    dies("selftest=overflow", 101, &["panic at vm-tests/selftest/src/deeds.rs:", "attempt to add with overflow"]);
}

#[test]
fn faults_of_the_cpu() {
    dies("selftest=divide-by-zero", 102, &["divide error"]);
    dies("selftest=invalid-instruction", 102, &["invalid instruction"]);
}

/// What the machine says of itself is what its page tables and registers say.
#[test]
fn the_protections_are_told() {
    let on = "protections no-execute write-protect smep smap umip write-xor-execute null-page stack-guards random-layout \
              checked-heap off:";
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let end = run(PROTECTED, &format!("--machine {machine} selftest=none report=protections"));
        assert!(end.text.contains(on), "{machine}: {end:?}");
        assert!(end.text.contains("writable-and-executable=0 below-64K=0 in-guards=0"), "{machine}: {end:?}");
    }
    let off = |protection: &str, name: &str| {
        let end = run(UNPROTECTED, &format!("selftest=none report=protections unprotected={protection}"));
        let (_, off) = end.text.split_once(" off:").unwrap_or_else(|| panic!("{end:?}"));
        assert!(off.lines().next().unwrap_or_default().contains(name), "{protection}: {end:?}");
    };
    let off_names = [
        ("no-execute", "write-xor-execute"),
        ("cpu", "smep smap umip"),
        ("null-page", "null-page"),
        ("stack-guard", "stack-guards"),
        ("layout", "random-layout"),
        ("heap", "checked-heap"),
    ];
    off_names.iter().for_each(|(protection, name)| off(protection, name));
}

/// A CPU that lacks them runs the image, which says so.
#[test]
fn a_cpu_without_protections() {
    let vm = Vm::start_with(PROTECTED, "--net none selftest=none report=protections", "-cpu qemu64");
    let end = vm.ends();
    assert!(end.code == 0 && end.text.contains("off: smep smap umip"), "{end:?}");
}

#[test]
fn unknown_deeds_and_protections_are_refused() {
    dies("selftest=nonsense", 1, &["boot argument `selftest=nonsense`", "write-text"]);
    dies("selftest=none report=nonsense", 2, &["boot argument `report=nonsense`"]);
    for words in ["watchdog=9", "watchdog=60001", "watchdog=18446744073709552", "on-hang=never"] {
        dies(&format!("selftest=none {words}"), 2, &[&format!("boot argument `{words}`")]);
    }
    dies("selftest=none unprotected=heap", 1, &["unknown boot argument `unprotected`"]);
    let end = run(UNPROTECTED, "selftest=none unprotected=nonsense");
    assert!(end.code == 2 && end.text.contains("boot argument `unprotected`"), "{end:?}");
}
