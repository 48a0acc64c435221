//! `-p`: a package, as for cargo, and a port, as for whoever else runs machines.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use crate::{build::Selection, port::Port, settings::Options};

/// The option that is both. Whoever has it takes `-p` from `--package` and `--port`.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Short {
    /// `-p 8080:80` forwards a port as `--port` does, `-p NAME` builds a package as `--package` does.
    #[arg(short = 'p', value_name = "PORT|NAME")]
    package_or_port: Vec<PackageOrPort>,
}

/// Package names begin with a letter, ports with a digit or, where they are wrong, a bracket.
#[derive(Clone, Debug, PartialEq)]
enum PackageOrPort {
    Package(String),
    Port(Port),
}

impl FromStr for PackageOrPort {
    type Err = String;
    fn from_str(text: &str) -> Result<PackageOrPort, String> {
        match text.bytes().next() {
            Some(b'0'..=b'9' | b'[') => text.parse().map(PackageOrPort::Port),
            Some(_) => Ok(PackageOrPort::Package(text.into())),
            None => Err("write `-p HOST:GUEST` for a port, or `-p NAME` for a package".into()),
        }
    }
}

impl Short {
    /// Each `-p` to what it means; where an image is given nothing is built.
    pub(crate) fn apply(&mut self, selection: &mut Selection, options: &mut Options, has_image: bool) -> Result<()> {
        for meant in self.package_or_port.drain(..) {
            match meant {
                PackageOrPort::Port(port) => options.ports.push(port),
                PackageOrPort::Package(package) if has_image => {
                    bail!("`--image` is a finished image; leave away `-p {package}`, which would build one")
                }
                PackageOrPort::Package(package) => {
                    let other = selection.package.replace(package);
                    ensure!(
                        other.is_none(),
                        "a machine is of one package; leave away `-p {}`",
                        other.unwrap_or_default()
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_a_package_or_a_port() {
        let check = |text: &str, expected: Option<PackageOrPort>| {
            assert_eq!(text.parse::<PackageOrPort>().ok(), expected, "{text}");
        };
        check("8080:80", Some(PackageOrPort::Port("8080:80".parse().unwrap())));
        check("80", Some(PackageOrPort::Port("80:80".parse().unwrap())));
        check("0.0.0.0:53:53/udp", Some(PackageOrPort::Port("0.0.0.0:53:53/udp".parse().unwrap())));
        check("[::1]:80:80", None);
        check("hello", Some(PackageOrPort::Package("hello".into())));
        check("8080:", None);
        check("", None);
    }

    #[test]
    fn each_goes_where_it_belongs() {
        let apply = |words: &[&str], has_image| {
            let mut short = Short { package_or_port: words.iter().map(|word| word.parse().unwrap()).collect() };
            let (mut selection, mut options) = (Selection::default(), Options::default());
            let done = short.apply(&mut selection, &mut options, has_image);
            done.map(|()| (selection.package, options.ports)).map_err(|error| error.to_string())
        };
        let ports = vec!["8080:80".parse().unwrap(), "443:443".parse().unwrap()];
        assert_eq!(apply(&["8080:80", "web", "443"], false), Ok((Some("web".into()), ports.clone())));
        assert_eq!(apply(&["8080:80", "443"], true), Ok((None, ports)));
        assert_eq!(apply(&["web", "api"], false), Err("a machine is of one package; leave away `-p web`".into()));
        let refused = "`--image` is a finished image; leave away `-p web`, which would build one";
        assert_eq!(apply(&["web"], true), Err(refused.into()));
    }
}
