//! `cargo unikernel new`, from a folder of the stage: what is written, and what is refused.

use crate::support::{Shown, Stage};
use std::fs;

fn check(shown: &Shown, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (code, stdout, stderr), "{shown:?}");
}

const FROM_REGISTRY: &str = "--registry 0.1.0";

#[test]
fn an_app_is_written() {
    let stage = Stage::new();
    let shown = stage.run(&format!("new hello-web {FROM_REGISTRY}"));
    let next = "made hello-web from the template `http`, with the framework from the registry, version 0.1.0\n\n    \
                cd hello-web\n    cargo run\n";
    check(&shown, 0, next, "");
    let manifest = fs::read_to_string(stage.path("hello-web/Cargo.toml")).unwrap();
    assert!(manifest.starts_with("[package]\nname = \"hello-web\"\n"), "{manifest}");
    assert!(manifest.contains("unikernel-http = { version = \"0.1.0\" }\n"), "{manifest}");
    assert!(fs::read_to_string(stage.path("hello-web/src/main.rs")).unwrap().contains("use hello_web::pages;"));
    let ci = fs::read_to_string(stage.path("hello-web/.github/workflows/ci.yml")).unwrap();
    assert!(ci.contains("\n          cargo install cargo-unikernel --version 0.1.0\n"), "{ci}");
}

#[test]
fn the_framework_is_where_this_command_came_from() {
    let stage = Stage::new();
    let root = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    let shown = stage.run("new one --template hello");
    assert!(shown.stdout.contains(&format!("with the framework from {}\n", root.display())), "{shown:?}");
    let manifest = fs::read_to_string(stage.path("one/Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("unikernel-rt = {{ path = \"{}/unikernel-rt\" }}\n", root.display())));
    // It can be said, and is the same.
    let options = format!("new two --template hello --path {}", root.display());
    assert_eq!(stage.run(&options).code, 0);
    let other = fs::read_to_string(stage.path("two/Cargo.toml")).unwrap();
    assert_eq!(other, manifest.replace("name = \"one\"", "name = \"two\""));
}

#[test]
fn a_dry_run_lists_the_files_and_writes_none() {
    let stage = Stage::new();
    let shown = stage.run(&format!("new site --template static-site {FROM_REGISTRY} --dry-run"));
    let listed: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(!stage.path("site").exists());
    assert_eq!(stage.run(&format!("new site --template static-site {FROM_REGISTRY}")).code, 0);
    for path in [".cargo/config.toml", ".gitignore", "Cargo.toml", "build.rs", "site/index.html", "tests/machine.rs"] {
        assert!(listed.contains(&format!("site/{path}").as_str()), "{path} in {listed:?}");
    }
    assert!(listed.iter().all(|path| stage.path(path).is_file()), "{listed:?}");
}

#[test]
fn what_is_there_is_left_alone() {
    let stage = Stage::new();
    fs::write(stage.path("taken"), "mine").unwrap();
    let expected = "error: taken exists already; choose another name, or move it away\n";
    check(&stage.run(&format!("new taken {FROM_REGISTRY}")), 125, "", expected);
    assert_eq!(fs::read_to_string(stage.path("taken")).unwrap(), "mine");
    std::os::unix::fs::symlink("nowhere", stage.path("link")).unwrap();
    assert_eq!(stage.run(&format!("new link {FROM_REGISTRY}")).code, 125);
}

#[test]
fn an_app_within_an_app_is_refused() {
    let stage = Stage::new();
    assert_eq!(stage.run(&format!("new outer {FROM_REGISTRY}")).code, 0);
    let mut command = stage.command(&format!("new inner {FROM_REGISTRY}"));
    let output = command.current_dir(stage.path("outer/src")).output().unwrap();
    let shown = Shown::of(output, stage.folder.path());
    let expected = "error: an app cannot lie within STAGE/outer, whose .cargo/config.toml would give the linker the same \
                    options once more; change to a folder outside\n";
    check(&shown, 125, "", expected);
    assert!(!stage.path("outer/src/inner").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let stage = Stage::new();
    fs::create_dir(stage.path("gone")).unwrap();
    let mut command = stage.command(&format!("new app {FROM_REGISTRY}"));
    // The folder is removed under the feet of the command.
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(stage.path("gone")).arg("-c").arg("rmdir ../gone && exec \"$@\"").arg("sh");
    let output = shell.arg(command.get_program()).args(command.get_args()).output().unwrap();
    let shown = Shown::of(output, stage.folder.path());
    assert!(shown.code == 125 && shown.stderr.starts_with("error: the current folder is gone"), "{shown:?}");
    command.current_dir(stage.folder.path());
}

#[test]
fn bash_completes_after_cargo() {
    let stage = Stage::new();
    let script = stage.run("completions bash");
    fs::write(stage.path("completions"), script.stdout).unwrap();
    let complete = |words: &str, last: usize| {
        let line = format!(
            "_cargo() {{ COMPREPLY=(cargos-own); }}; . ./completions; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _cargo_with_unikernel cargo; echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        let output = bash.current_dir(stage.folder.path()).args(["--norc", "-c", &line]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("cargo unikernel ne", 2), "new net netstat");
    assert_eq!(complete("cargo unikernel new --temp", 3), "--template");
    assert_eq!(complete("cargo unikernel new --template js", 4), "json-api");
    assert_eq!(complete("cargo bu", 1), "cargos-own");
}

#[test]
fn other_shells_have_their_scripts() {
    let stage = Stage::new();
    for (shell, part) in
        [("zsh", "#compdef cargo-unikernel"), ("fish", "complete -c cargo"), ("elvish", "cargo-unikernel")]
    {
        let shown = stage.run(&format!("completions {shell}"));
        assert!(shown.code == 0 && shown.stdout.contains(part), "{shell}: {shown:?}");
    }
}
