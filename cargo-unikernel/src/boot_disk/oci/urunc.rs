//! What urunc wants to know: annotations of the image, and the same in a file (urunc, docs/package/index.md).

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::KERNEL;

/// urunc has a list of frameworks, which decides what it puts on the command line; ours is not on it. For this one it starts QEMU with
/// `-kernel` and the line `ip=ADDRESS/LEN gateway=ADDRESS -- COMMAND` (its pkg/unikontainers/unikernels/hermit_rs.go). The network
/// takes both of these, and of what else stands before `--` the runtime passes over what it does not know.
const KIND: &str = "hermit";

/// What the container runs, which for urunc is the command behind the `--`: our boot arguments. Container runtimes want one in any case, and without
/// it urunc would write no `--`; a second one is none to the runtime.
pub(super) fn command(arguments: &[String]) -> Vec<String> {
    ["--".to_owned()].into_iter().chain(arguments.iter().cloned()).collect()
}

/// The annotations. That of the command line is for versions that take it where the container has no command.
pub(super) fn annotations(arguments: &[String]) -> HashMap<String, String> {
    let mut all = HashMap::new();
    let mut add = |key: &str, value: &str| all.insert(format!("com.urunc.unikernel.{key}"), value.to_owned());
    add("unikernelType", KIND);
    add("hypervisor", "qemu");
    add("binary", &format!("/{KERNEL}"));
    add("mountRootfs", "false");
    if !arguments.is_empty() {
        add("cmdline", &arguments.join(" "));
    }
    all
}

/// The file: the same keys, with values in base64.
pub(super) fn file(annotations: &HashMap<String, String>) -> String {
    let encoded: BTreeMap<_, _> = annotations.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
    serde_json::to_string_pretty(&encoded).expect("strings are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_the_file_are_encoded() {
        let file = file(&annotations(&["a=b".into(), "c".into()]));
        let value: serde_json::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(value["com.urunc.unikernel.cmdline"], "YT1iIGM=");
        assert_eq!(value["com.urunc.unikernel.hypervisor"], "cWVtdQ==");
        assert_eq!(annotations(&[]).get("com.urunc.unikernel.cmdline"), None);
        assert_eq!(command(&["a=b".into(), "c".into()]), ["--", "a=b", "c"]);
        assert_eq!(command(&[]), ["--"]);
    }
}
