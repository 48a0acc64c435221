//! What is made, and of what.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::{
    Format, bare, beside, check_arguments, config, convert, esp,
    hash::sha256_of,
    layout, loaders,
    oci::{self, Reference},
    sbom, stripped, write,
};
use crate::{
    build,
    catalog::Record,
    deploy::{Plan, kubernetes},
    environment::{EnvOptions, Environment},
    fs::{Draft, print},
    package, qemu,
};

/// What is made, and of what.
#[derive(clap::Args)]
pub struct Create {
    #[command(flatten)]
    selection: build::Selection,
    /// Takes this image, the ELF file of an app, instead of building one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["package", "release", "features"])]
    image: Option<PathBuf>,
    /// What kind of file.
    #[arg(short, long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Makes the image of a disk a partition; the app mounts it. Of several, in this order, the first has number 3.
    #[arg(long = "volume", value_name = "NAME=FILE")]
    volumes: Vec<Content>,
    /// Variables for the app, on a config partition of the disk. Whoever can read the image can read them.
    #[command(flatten)]
    env: EnvOptions,
    /// What an OCI image is called, `[REGISTRY/]NAME[:TAG]`; without it, as its file.
    #[arg(long, value_name = "NAME")]
    reference: Option<Reference>,
    /// Only prints the commands that would be run.
    #[arg(long)]
    dry_run: bool,
    /// Prints what was made as JSON.
    #[arg(long)]
    json: bool,
    /// Boot arguments (`key=value`). They are in the image, where `image arguments` changes them.
    #[arg(last = true, value_name = "BOOT ARGUMENTS")]
    arguments: Vec<String>,
}

/// A partition with the content of a file.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) name: String,
    pub(super) file: PathBuf,
}

impl std::str::FromStr for Content {
    type Err = String;

    fn from_str(text: &str) -> Result<Content, String> {
        let wrong = || format!("`{text}` is no volume; write NAME=FILE, such as `site=site.img`");
        let (name, file) = text.split_once('=').filter(|(_, file)| !file.is_empty()).ok_or_else(wrong)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > layout::NAME_LEN_MAX || !name.chars().all(plain) {
            let most = layout::NAME_LEN_MAX;
            return Err(format!("`{name}` is no name of a volume; take 1 to {most} letters, digits, `-`, `_` and `.`"));
        }
        Ok(Content { name: name.to_owned(), file: file.into() })
    }
}

/// What was made, under a name of its own for now.
struct Made {
    image: Draft,
    /// `None` without a disk.
    disk_len: Option<u64>,
    kernel_len: usize,
}

impl Create {
    /// Makes it, and says what it made.
    pub fn exec(self) -> Result<u8> {
        let environment = self.check()?;
        let config = (!environment.is_empty()).then(|| environment.text());
        if self.dry_run {
            return self.print_commands();
        }
        convert::check(self.format)?;
        let built = match &self.image {
            Some(image) => build::Built { image: image.clone(), crates: Vec::new() },
            None => build::reproducible(&self.selection)?,
        };
        let kernel = stripped(&crate::image::read(&built.image)?)?;
        if config.is_some() {
            config::check_reader(&kernel)?;
        }
        let made =
            self.make(&kernel, config.as_deref()).with_context(|| format!("cannot make {}", self.output.display()))?;
        let sha256 = sha256_of(made.image.path())?;
        let mut texts = vec![(".sha256", checksum_line(&sha256, &self.output))];
        if self.image.is_none() {
            texts.push((".cdx.json", sbom::text(&self.selection, &built.crates, &sha256)?));
        }
        if self.format == Format::Oci {
            texts.push((".kubernetes.yaml", self.manifest(&built.image)?));
        }
        let report = (made.disk_len, made.kernel_len, config.map(|_| environment.keys()));
        self.finish(made.image, &texts)?;
        self.remember(&built.image, &sha256);
        self.report(report, &sha256, &texts)
    }

    /// The environment, when all is as it should be.
    fn check(&self) -> Result<Environment> {
        check_arguments(&self.arguments)?;
        ensure!(
            self.format != Format::Elf || self.volumes.is_empty(),
            "a kernel has no partitions; give its machine the disks, or make a disk with `--format raw`"
        );
        ensure!(
            self.format == Format::Oci || self.reference.is_none(),
            "only an OCI image has a name of its own; leave away `--reference`, or add `--format oci`"
        );
        let environment = Environment::of(&self.env).map_err(anyhow::Error::msg)?;
        ensure!(
            self.format != Format::Elf || environment.is_empty(),
            "a kernel has no partition for `--env`; write the values as boot arguments, `-- env.NAME=VALUE`, give them to whoever \
             starts it, or make a disk with `--format raw`"
        );
        Ok(environment)
    }

    fn make(&self, kernel: &[u8], config: Option<&str>) -> Result<Made> {
        let kernel_len = kernel.len();
        if self.format == Format::Elf {
            let image = Draft::of(&self.output)?;
            fs::write(image.path(), bare::with_arguments(kernel, &self.arguments)?)?;
            return Ok(Made { image, disk_len: None, kernel_len });
        }
        let loaders = loaders::loaders()?;
        let arguments = esp::arguments_file(&self.arguments);
        let files = esp::Files { loader: loaders.uefi, kernel, arguments: &arguments };
        let disk = Draft::of(&self.output)?;
        let whole = write::Disk { files, bios: loaders.bios, volumes: &self.volumes, config };
        let disk_len = write::disk(disk.path(), &whole, self.format.len_unit())?;
        let mut image = convert::convert(self.format, disk, &self.output)?;
        if self.format == Format::Oci {
            let (reference, archive) = (self.reference(), Draft::called(&self.output, "archive")?);
            let parts = oci::Parts { disk: image.path(), kernel, arguments: &self.arguments, reference: &reference };
            oci::write(archive.path(), &self.output, &parts)?;
            image = archive;
        }
        Ok(Made { image, disk_len: Some(disk_len), kernel_len })
    }

    fn reference(&self) -> Reference {
        self.reference.clone().unwrap_or_else(|| Reference::of_file(&self.output))
    }

    fn manifest(&self, elf: &Path) -> Result<String> {
        let package = package::origin_of(elf)?.settings;
        let plan = Plan::of_package((&self.output, self.format), self.reference(), &self.arguments, &package)?;
        Ok(kubernetes::kubevirt(&plan, kubernetes::Start::Disk))
    }

    /// Gives everything its name, when everything is there.
    fn finish(&self, image: Draft, texts: &[(&str, String)]) -> Result<()> {
        let mut drafts = Vec::new();
        for (ending, text) in texts {
            let draft = Draft::of(&beside(&self.output, ending))?;
            fs::write(draft.path(), text).with_context(|| format!("cannot write {}", draft.path().display()))?;
            drafts.push(draft);
        }
        // What was there of an image before.
        let older = super::BESIDE.iter().filter(|ending| !texts.iter().any(|(new, _)| new == *ending));
        image.finish()?;
        drafts.into_iter().try_for_each(Draft::finish)?;
        older.for_each(|ending| drop(fs::remove_file(beside(&self.output, ending))));
        Ok(())
    }

    fn remember(&self, elf: &Path, sha256: &str) {
        let name = elf.file_name().unwrap_or_default().to_string_lossy();
        let package = self.selection.package.clone().unwrap_or_else(|| name.into_owned());
        // The image is there all the same.
        if let Err(error) = Record::of(&self.output, self.format, package, sha256).and_then(|record| record.write()) {
            eprintln!("unikernel: `image list` will not know of this image: {error:#}");
        }
    }

    fn print_commands(&self) -> Result<u8> {
        if self.image.is_none() {
            print(&build::reproducible_line(&self.selection)?)?;
        }
        if let Some(command) = convert::command(self.format, "DISK".as_ref(), &self.output) {
            print(&qemu::shell_line(convert::QEMU_IMG, &command))?;
        }
        Ok(0)
    }

    fn report(
        &self,
        (disk_len, kernel_len, config): (Option<u64>, usize, Option<Vec<String>>),
        sha256: &str,
        texts: &[(&str, String)],
    ) -> Result<u8> {
        let file_len = fs::metadata(&self.output).map(|file| file.len()).context("the image is gone")?;
        let kernel_kib = kernel_len.div_ceil(1024);
        let disk = disk_len.map(|len| format!(", disk of {} MiB", len >> 20)).unwrap_or_default();
        let volumes: Vec<_> = self.volumes.iter().map(|volume| &volume.name).collect();
        let files: Vec<_> = texts.iter().map(|(ending, _)| beside(&self.output, ending)).collect();
        let text = match self.json {
            false => format!("{} ({}{disk}, kernel {kernel_kib} KiB)", self.output.display(), self.format),
            true => json!({
                "file": self.output, "format": self.format, "file_len": file_len, "disk_len": disk_len,
                "kernel_len": kernel_len, "boot_arguments": self.arguments, "config": config, "volumes": volumes,
                "sha256": sha256,
                "beside": files,
            })
            .to_string(),
        };
        print(&text)?;
        Ok(0)
    }
}

/// As `sha256sum --check` reads it, in the folder of the image.
pub(super) fn checksum_line(sha256: &str, image: &Path) -> String {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    // What a line cannot hold is escaped, which a mark at its beginning says (coreutils, md5sum).
    if name.contains(['\\', '\n', '\r']) {
        let name = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        return format!("\\{sha256}  {name}\n");
    }
    format!("{sha256}  {name}\n")
}

/// The length of a file that becomes a partition.
pub(super) fn content_len(content: &Content) -> Result<u64> {
    let file = fs::metadata(&content.file).with_context(|| format!("cannot read {}", content.file.display()))?;
    if !file.is_file() || file.len() == 0 {
        bail!("{} is no image of a disk; make one with `cargo unikernel image fs create`", content.file.display());
    }
    Ok(file.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let check = |text: &str, expected: &str| {
            let found = text.parse::<Content>();
            let found = found.map_or_else(|error| error, |found| format!("{} {}", found.name, found.file.display()));
            assert!(found.contains(expected), "{found}");
        };
        check("site=site.img", "site site.img");
        check("a-b_c.1=x=y", "a-b_c.1 x=y");
        check("site", "`site` is no volume; write NAME=FILE");
        check("site=", "is no volume");
        check("=x", "`` is no name of a volume");
        check("sité=x", "is no name of a volume");
        check(&format!("{}=x", "n".repeat(37)), "take 1 to 36 letters");
    }

    #[test]
    fn checksums() {
        let check = |path: &str, expected: &str| assert_eq!(checksum_line("ab", path.as_ref()), expected);
        check("images/app.img", "ab  app.img\n");
        check("a\\b", "\\ab  a\\\\b\n");
    }
}
