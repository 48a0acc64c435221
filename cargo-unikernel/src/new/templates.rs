//! The templates: the folders in `templates/` at the root of the repository, compiled in.

/// What an app begins as.
pub struct Template {
    /// As in `--template`, and in `templates/`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// All of it but `cargo-generate.toml`.
    pub files: &'static [File],
}

/// A file of a template, with placeholders.
pub struct File {
    /// From the folder of the template.
    pub path: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl File {
    /// Its path in an app. `Cargo.toml` has another name here, as cargo takes folders with one for packages; cargo-generate removes the
    /// ending, too.
    pub fn target(&self) -> &'static str {
        self.path.strip_suffix(".liquid").unwrap_or(self.path)
    }
}

macro_rules! file {
    ($template:literal, $path:literal) => {
        File {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $template, "/", $path)),
        }
    };
}

macro_rules! template {
    ($name:literal, $about:literal $(, $own:literal)*) => {
        Template {
            name: $name,
            about: $about,
            files: &[
                file!($name, ".cargo/config.toml"),
                file!($name, ".github/workflows/ci.yml"),
                file!($name, ".gitignore"),
                file!($name, ".vscode/launch.json"),
                file!($name, ".vscode/tasks.json"),
                file!($name, "Cargo.toml.liquid"),
                file!($name, "README.md"),
                file!($name, "rust-toolchain.toml"),
                $(file!($name, $own),)*
                file!($name, "src/lib.rs"),
                file!($name, "src/main.rs"),
                file!($name, "src/tests.rs"),
                file!($name, "tests/machine.rs"),
            ],
        }
    };
}

/// The default is `http`.
pub const TEMPLATES: &[Template] = &[
    template!("hello", "says hello, and ends"),
    template!("http", "serves pages, on port 8080", "src/home.html"),
    template!("json-api", "keeps notes behind a JSON API, on port 8080"),
    template!(
        "static-site",
        "serves a folder of files, on port 8080",
        "build.rs",
        "site/index.html",
        "site/logo.svg",
        "site/style.css"
    ),
    template!("service", "answers lines on TCP port 7000; health and metrics on port 8080"),
];

/// The template with this name.
pub fn find(name: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")
    }

    fn files_below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => files_below(&entry.path(), &format!("{path}/"), found),
                false => drop(found.insert(path)),
            }
        }
    }

    #[test]
    fn every_file_is_compiled_in() {
        let mut found = BTreeSet::new();
        files_below(&folder(), "", &mut found);
        let ours = TEMPLATES.iter().flat_map(|template| {
            let files = template.files.iter().map(|file| file.path).chain(["cargo-generate.toml"]);
            files.map(move |path| format!("{}/{path}", template.name))
        });
        assert_eq!(found, ours.collect());
    }

    /// cargo-generate takes one folder, so each has all of them.
    #[test]
    fn what_templates_share_is_the_same_in_each() {
        let shared = [
            ".cargo/config.toml",
            ".github/workflows/ci.yml",
            ".gitignore",
            ".vscode/launch.json",
            ".vscode/tasks.json",
            "rust-toolchain.toml",
            "cargo-generate.toml",
        ];
        for path in shared {
            let text = |template: &Template| fs::read_to_string(folder().join(template.name).join(path)).unwrap();
            assert!(TEMPLATES.iter().all(|template| text(template) == text(&TEMPLATES[0])), "{path}");
        }
    }

    /// Images are linked as in this repository.
    #[test]
    fn flags_are_those_of_the_repository() {
        let flags = |text: &str| text.split_once("[target.x86_64-unknown-none]").unwrap().1.to_owned();
        let ours = fs::read_to_string(folder().join("../.cargo/config.toml")).unwrap();
        assert_eq!(flags(TEMPLATES[0].files[0].text), flags(&ours));
        let profile = |text: &str| {
            let (_, rest) = text.split_once("[profile.release]\n").unwrap();
            rest.split_once("\n\n").unwrap().0.replace("opt-level = 3\n", "")
        };
        let ours = fs::read_to_string(folder().join("../Cargo.toml")).unwrap();
        for template in TEMPLATES {
            let manifest = template.files.iter().find(|file| file.target() == "Cargo.toml").unwrap();
            assert_eq!(profile(manifest.text), profile(&ours), "{}", template.name);
        }
    }
}
