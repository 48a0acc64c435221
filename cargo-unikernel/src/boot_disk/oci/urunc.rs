//! What urunc wants to know: annotations of the image, and the same in a file (urunc, docs/package/index.md).

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::KERNEL;

/// urunc has a list of frameworks, which decides what it puts on the command line; ours is not on it. For this one it starts QEMU with
/// `-kernel` and our boot arguments, behind those for the network.
const KIND: &str = "hermit";

/// The annotations.
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
    }
}
