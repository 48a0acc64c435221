//! `cargo unikernel completions`: what a shell needs to complete the command.

use anyhow::Result;
use clap::Command;
use clap_complete::{Shell, generate};

use crate::fs::{print, unless_unheard};

/// For bash, which asks for the words after `cargo` elsewhere: ours are answered here, the others by whoever did before.
const BASH_AFTER_CARGO: &str = r#"
_cargo_with_unikernel() {
    if [ "${COMP_WORDS[1]}" = unikernel ] && [ "$COMP_CWORD" -gt 1 ]; then
        COMP_WORDS=(cargo-unikernel "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _unikernel cargo-unikernel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    elif declare -F _cargo >/dev/null; then
        _cargo "$@"
    fi
}
complete -F _cargo_with_unikernel -o bashdefault -o default cargo
complete -F _unikernel -o bashdefault -o default cargo-unikernel
"#;

/// For which shell.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    shell: Shell,
}

const AFTER_HELP: &str = "\
Where shells look for it:
  bash  cargo unikernel completions bash >~/.local/share/bash-completion/completions/cargo-unikernel
        source that file in ~/.bashrc, so that it also completes `cargo unikernel`
  zsh   cargo unikernel completions zsh >~/.zfunc/_cargo-unikernel
        with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  fish  cargo unikernel completions fish >~/.config/fish/conf.d/cargo-unikernel.fish";

/// Prints the script for `command`.
pub fn exec(arguments: Arguments, command: Command) -> Result<u8> {
    unless_unheard(print(script(arguments.shell, command).trim_end()).map(|()| 0).map_err(Into::into))
}

fn script(shell: Shell, command: Command) -> String {
    let mut script = Vec::new();
    // fish adds what one file says of a command to what others say, so here it can be said of `cargo` itself.
    let (mut command, name) = match shell {
        Shell::Fish => (Command::new("cargo").subcommand(command.name("unikernel")), "cargo"),
        // What is made for bash does not find its own functions if there is a hyphen in the name.
        Shell::Bash => (command.bin_name("unikernel"), "unikernel"),
        _ => (command.bin_name("cargo-unikernel"), "cargo-unikernel"),
    };
    generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash { script + BASH_AFTER_CARGO } else { script }
}
