//! An image does not depend on where it was built; what is in it is told beside it.

use e2e::image::tool;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The sources, without what was built and without their history.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        // A link to a folder becomes a folder.
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(name)),
            false => drop(fs::copy(entry.path(), to.join(name)).unwrap()),
        }
    }
}

/// Makes the image of an app in this workspace, maybe with a folder of its own for what cargo builds.
fn create(workspace: &Path, target: Option<&Path>, output: &Path) {
    let mut command = Command::new(tool());
    command.args(["image", "create", "-p", "hello", "-f", "elf", "-o"]).arg(output).current_dir(workspace);
    command.env("XDG_STATE_HOME", output.with_file_name("state"));
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn two_folders_make_one_image() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    copy(&workspace(), &here("another-place"));
    create(&workspace(), None, &here("image-1"));
    create(&here("another-place"), Some(&here("somewhere-else")), &here("image-2"));
    let images = ["image-1", "image-2"].map(|name| fs::read(here(name)).unwrap());
    assert!(images[0] == images[1], "{} and {} bytes", images[0].len(), images[1].len());
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let rust = PathBuf::from(String::from_utf8(rustc.stdout).unwrap().trim());
    for place in [workspace(), folder.path().to_owned(), rust] {
        let place = place.to_str().unwrap().as_bytes();
        assert!(
            !images[0].windows(place.len()).any(|bytes| bytes == place),
            "a path of this workstation is in the image"
        );
    }
    let texts = ["image-1.cdx.json", "image-2.cdx.json"].map(|name| fs::read_to_string(here(name)).unwrap());
    assert_eq!(texts[0], texts[1]);
    names_every_crate(&texts[0], &images[0]);
}

/// The bill of materials: what cargo itself says is in the image.
fn names_every_crate(text: &str, image: &[u8]) {
    let bill: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = bill["components"].as_array().unwrap();
    let mut found: Vec<String> = components
        .iter()
        .map(|one| format!("{} {}", one["name"].as_str().unwrap(), one["version"].as_str().unwrap()))
        .filter(|name| !name.starts_with("rust "))
        .collect();
    let words =
        "tree -p hello --target x86_64-unknown-none -e normal,no-proc-macro --prefix none --locked --format {p}";
    let tree = Command::new("cargo").args(words.split(' ')).current_dir(workspace()).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let name = |line: &str| {
        let mut words = line.split(' ');
        format!("{} {}", words.next().unwrap(), words.next().unwrap_or_default().trim_start_matches('v'))
    };
    let mut expected: Vec<String> =
        tree.lines().filter(|line| !line.is_empty()).map(name).filter(|name| !name.starts_with("hello ")).collect();
    found.sort();
    expected.sort();
    expected.dedup();
    assert_eq!(found, expected);
    for component in components.iter().filter(|one| one["bom-ref"].as_str().unwrap().starts_with("pkg:cargo/")) {
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        let is_ours = component["name"].as_str().unwrap().starts_with("unikernel-");
        assert!(is_ours || component["hashes"][0]["content"].as_str().unwrap().len() == 64, "{component}");
    }
    let root = &bill["metadata"]["component"];
    assert_eq!((&root["name"], &root["type"]), (&"hello".into(), &"application".into()));
    assert!(!image.is_empty());
}
