//! The environment of an app: what `--env` and `--env-file` say, and its way to the machine.
//!
//! It goes by QEMU's fw_cfg, as lines of the text that `unikernel_rt::config` describes: so values may have blanks, and
//! secrets stand neither on a command line, which every process of this computer may read, nor in a file on a disk.

use std::{
    env,
    fmt::{self, Write as _},
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

/// What a machine reads at most, see `unikernel_rt::config`.
const TEXT_LEN_MAX: usize = unikernel_rt::config::TEXT_LEN_MAX;

/// Where the environment comes from.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct EnvOptions {
    /// Gives the app an environment variable; without `=VALUE` it has this command's own. Repeat for several.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub variables: Vec<Variable>,
    /// Gives the app the variables of a file, which has a line `NAME=VALUE` for each; `--env` wins. Repeat for several.
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
}

impl EnvOptions {
    /// The words that give these options again.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let files = self.env_files.iter().map(|file| format!("--env-file={}", file.display()));
        let variables = self.variables.iter().map(|Variable { name, value }| match value {
            Some(value) => format!("--env={name}={value}"),
            None => format!("--env={name}"),
        });
        files.chain(variables)
    }
}

/// `NAME=VALUE`, or `NAME` for that of this process.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    name: String,
    value: Option<String>,
}

impl FromStr for Variable {
    type Err = String;
    fn from_str(text: &str) -> Result<Variable, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
            return Err("a variable has a name of letters, digits and `_`; write NAME=VALUE, or NAME".into());
        }
        if value.is_some_and(|value| value.contains(is_refused)) {
            return Err(format!(
                "`{name}` holds a control character; lines and tabs are the only ones that may be there"
            ));
        }
        Ok(Variable { name: name.into(), value: value.map(Into::into) })
    }
}

fn is_refused(c: char) -> bool {
    c.is_control() && !"\n\r\t".contains(c)
}

/// Values may be secret.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Variables with their values, in their order; the last of a name counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

/// Values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Environment {
    /// Reads the files and this process' own environment.
    pub fn of(options: &EnvOptions) -> Result<Environment, String> {
        let mut environment = Environment::default();
        for file in &options.env_files {
            environment.add_file(file)?;
        }
        for variable in &options.variables {
            environment.add(variable)?;
        }
        match environment.text() {
            text if text.len() > TEXT_LEN_MAX => {
                Err("the environment is longer than 64 KiB; give large values as files, with `--module`".into())
            }
            _ => Ok(environment),
        }
    }

    fn add_file(&mut self, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let variable = line.parse().and_then(|variable| self.add(&variable));
            variable.map_err(|problem| format!("{}, line {number}: {problem}", file.display()))?;
        }
        Ok(())
    }

    fn add(&mut self, Variable { name, value }: &Variable) -> Result<(), String> {
        let value = match value {
            Some(value) => value.clone(),
            None => of_this_process(name)?,
        };
        self.0.push((name.clone(), value));
        Ok(())
    }

    /// There are no variables.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that the machine finds, each once.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for key in self.0.iter().map(|(name, _)| format!("env.{name}")) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// As the machine reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            writeln!(text, "env.{name}={}", quoted(value)).expect("a string takes all");
        }
        text
    }
}

fn of_this_process(name: &str) -> Result<String, String> {
    let value = env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => {
            format!("`{name}` is not in the environment of this command; write `--env {name}=VALUE`")
        }
        env::VarError::NotUnicode(_) => format!("`{name}` in the environment of this command is no UTF-8 text"),
    })?;
    format!("{name}={value}").parse::<Variable>().map(|_| value)
}

/// A value in double quotes, with what would end it or its line escaped.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}

/// An environment in memory that QEMU inherits, and nobody else can open.
pub struct Inherited {
    file: OwnedFd,
}

impl Inherited {
    /// For every process that is started while this lives.
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub fn of(environment: &Environment) -> Result<Inherited> {
        let text = environment.text();
        // Not closed on exec: that is its way to QEMU.
        let file = memfd_create("environment", MemfdFlags::empty()).context("cannot pass the environment on")?;
        let written = rustix::io::pwrite(&file, text.as_bytes(), 0).context("cannot pass the environment on")?;
        ensure!(written == text.len(), "cannot pass the environment on: the system took {written} bytes of it");
        Ok(Inherited { file })
    }

    /// What QEMU finds it under.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[&str]) -> EnvOptions {
        EnvOptions { variables: variables.iter().map(|text| text.parse().unwrap()).collect(), env_files: Vec::new() }
    }

    #[test]
    fn variables_become_lines() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Environment::of(&options(&[text])).unwrap().text(), format!("env.{expected}\n"));
        };
        check("A=1", r#"A="1""#);
        check("A=", r#"A="""#);
        check("_b2=some words ", r#"_b2="some words ""#);
        check("A=x=y#z", r#"A="x=y#z""#);
        check("A=\"quoted\" \\n", r#"A="\"quoted\" \\n""#);
        check("A=two\nlines\tand\r", r#"A="two\nlines\tand\r""#);
        check("A=schön", r#"A="schön""#);
    }

    #[test]
    fn wrong_variables_are_refused() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<Variable>().unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        };
        check("", "write NAME=VALUE");
        check("=hunter2", "write NAME=VALUE");
        check("1A=hunter2", "write NAME=VALUE");
        check("A-B=hunter2", "write NAME=VALUE");
        check("A B=hunter2", "write NAME=VALUE");
        check("A=hunter2\u{7}", "`A` holds a control character");
    }

    #[test]
    fn what_is_missing_or_too_long_is_named() {
        let check = |text: &str, part: &str| {
            let error = Environment::of(&options(&[text])).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check("NOBODY_HAS_THIS", "`NOBODY_HAS_THIS` is not in the environment of this command");
        check(&format!("A={}", "x".repeat(TEXT_LEN_MAX)), "longer than 64 KiB");
    }

    #[test]
    fn files_come_first_and_their_errors_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            Environment::of(&EnvOptions { env_files: vec![file.clone()], ..options(&["A=2"]) })
        };
        assert_eq!(read("# a\n\nA=1\n B='x'\n").unwrap().text(), "env.A=\"1\"\nenv.B=\"'x'\"\nenv.A=\"2\"\n");
        assert!(read("A=1\nmy hunter2").unwrap_err().contains("env, line 2: a variable has a name"));
        assert!(read("A=1\nNOBODY_HAS_THIS").unwrap_err().contains("env, line 2: `NOBODY_HAS_THIS` is not in"));
    }

    #[test]
    fn values_are_not_shown() {
        let options = options(&["A=hunter2"]);
        let environment = Environment::of(&options).unwrap();
        assert_eq!(format!("{options:?} {environment:?}"), "EnvOptions { variables: [A], env_files: [] } [\"A\"]");
    }

    #[test]
    fn whoever_inherits_it_can_read_it() {
        let inherited = Inherited::of(&Environment::of(&options(&["A=1"])).unwrap()).unwrap();
        let output = std::process::Command::new("cat").arg(inherited.path()).output().unwrap();
        assert_eq!(output.stdout, b"env.A=\"1\"\n");
    }
}
