//! Chooses between KVM (fast) and TCG (works everywhere).

use std::{fmt, fs, io, str::FromStr};

use anyhow::{Result, bail};

/// How QEMU runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// By the CPU itself; needs Linux, `vmx` or `svm`, and access to `/dev/kvm`.
    Kvm,
    /// By translation.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        })
    }
}

impl FromStr for Accel {
    type Err = String;
    fn from_str(word: &str) -> Result<Accel, String> {
        match word {
            "kvm" => Ok(Accel::Kvm),
            "tcg" => Ok(Accel::Tcg),
            _ => Err(format!("`{word}` is no acceleration; choose `kvm` or `tcg`")),
        }
    }
}

/// Takes what was asked for; unasked, KVM where it works. Asking for KVM where it cannot work is an error.
pub fn choose(wish: Option<Accel>, kvm: Result<(), String>) -> Result<Accel> {
    match (wish, kvm) {
        (Some(Accel::Tcg), _) | (None, Err(_)) => Ok(Accel::Tcg),
        (_, Ok(())) => Ok(Accel::Kvm),
        (Some(Accel::Kvm), Err(problem)) => bail!("KVM cannot be used: {problem}; or run without it: `--accel tcg`"),
    }
}

/// Whether KVM works on this machine; the error says what is missing and what to do.
pub fn kvm() -> Result<(), String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    kvm_problem(&cpuinfo, device.map(drop))
}

/// Both are needed: a device node alone is also seen in containers and VMs whose CPU cannot virtualise.
fn kvm_problem(cpuinfo: &str, device: io::Result<()>) -> Result<(), String> {
    if !has_virtualisation(cpuinfo) {
        return Err("the CPU shows neither `vmx` nor `svm` in /proc/cpuinfo; switch virtualisation on in the \
                    firmware, or nested virtualisation on in the outer VM"
            .into());
    }
    device.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "/dev/kvm is not there; load the module with `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`".into()
        }
        io::ErrorKind::PermissionDenied => {
            "/dev/kvm may not be opened by this user; join its group with `sudo usermod -aG kvm $USER` and log \
             in again"
                .into()
        }
        _ => format!("/dev/kvm cannot be opened ({error})"),
    })
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.flat_map(|(_, flags)| flags.split_whitespace()).any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::ErrorKind;

    fn check(cpuinfo: &str, device: Result<(), ErrorKind>, expected: &str) {
        let problem = kvm_problem(cpuinfo, device.map_err(io::Error::from));
        let text = choose(Some(Accel::Kvm), problem).map_or_else(|error| error.to_string(), |_| "usable".into());
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn both_conditions_are_needed() {
        check("flags\t\t: fpu vmx sse\n", Ok(()), "usable");
        check("flags\t\t: fpu svm\n", Ok(()), "usable");
        check("flags\t\t: fpu vmx_like\n", Ok(()), "neither `vmx` nor `svm`");
        check("flags\t\t: vmx\n", Err(ErrorKind::NotFound), "modprobe kvm_intel");
        check("flags\t\t: vmx\n", Err(ErrorKind::PermissionDenied), "usermod -aG kvm");
        check("flags\t\t: vmx\n", Err(ErrorKind::Other), "cannot be opened");
        check("", Ok(()), "KVM cannot be used: ");
        check("", Ok(()), "`--accel tcg`");
    }

    #[test]
    fn unasked_kvm_is_taken_where_it_works() {
        assert_eq!(choose(None, Ok(())).unwrap(), Accel::Kvm);
        assert_eq!(choose(None, Err(String::new())).unwrap(), Accel::Tcg);
        assert_eq!(choose(Some(Accel::Tcg), Ok(())).unwrap(), Accel::Tcg);
    }
}
