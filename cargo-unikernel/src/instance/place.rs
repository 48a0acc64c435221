//! Where instances run, and what only one of these places takes.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// Who runs an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// This computer, in QEMU
    #[default]
    Local,
    /// Amazon EC2, if this tool was built with `--features aws`; as there are no drivers for its network ports (ENA) and disks
    /// (NVMe) yet, an app starts there, but reaches nobody and has no volume
    Aws,
}

/// What only Amazon's cloud can be told.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Amazon EC2 (`--provider aws`)")]
pub struct AwsOptions {
    /// The kind of machine; `t3.nano` if nothing is said.
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// The subnet; without it, one of the account's default network.
    #[arg(long, value_name = "ID")]
    pub subnet: Option<String>,
    /// A security group, which says who may reach the machine; repeat for several. Without it, the network's default one.
    #[arg(long = "security-group", value_name = "ID")]
    pub security_groups: Vec<String>,
}

impl AwsOptions {
    /// Refuses what this computer cannot heed.
    pub(super) fn check_unused(&self) -> Result<()> {
        let said = [
            ("--instance-type", self.instance_type.is_some()),
            ("--subnet", self.subnet.is_some()),
            ("--security-group", !self.security_groups.is_empty()),
        ];
        match said.iter().find(|(_, is_said)| *is_said) {
            Some((option, _)) => bail!("`{option}` is for Amazon EC2; leave it away, or add `--provider aws`"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_cloud_is_refused_here() {
        let check = |options: AwsOptions, option: &str| {
            let error = options.check_unused().unwrap_err().to_string();
            assert_eq!(error, format!("`{option}` is for Amazon EC2; leave it away, or add `--provider aws`"));
        };
        assert!(AwsOptions::default().check_unused().is_ok());
        check(AwsOptions { instance_type: Some("t3.nano".into()), ..Default::default() }, "--instance-type");
        check(AwsOptions { subnet: Some("subnet-1".into()), ..Default::default() }, "--subnet");
        check(AwsOptions { security_groups: vec!["sg-1".into()], ..Default::default() }, "--security-group");
    }
}
