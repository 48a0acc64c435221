//! dnsmasq on the [tap](crate::namespace::TAP): DHCP, DHCPv6, router advertisements and DNS.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{namespace::TAP, output::Output};

/// A running dnsmasq. Dropping it ends it, after the answer that it is about to send.
pub struct Dnsmasq {
    process: Child,
    output: Output,
}

impl Dnsmasq {
    /// Starts it with these options besides, such as `--domain=test`; `home` keeps its leases.
    pub fn start(home: &Path, options: &[&str]) -> Dnsmasq {
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-", "--user=root"]);
        command.args(["--no-resolv", "--no-hosts", "--no-ping", "--log-dhcp", "--log-queries", "--pid-file="]);
        command.args([format!("--interface={TAP}"), format!("--dhcp-leasefile={}", home.join("leases").display())]);
        command.args(["--bind-interfaces", "--dhcp-authoritative"]).args(options);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("dnsmasq starts; script/test installs it");
        let output = Output::of(vec![Box::new(process.stderr.take().expect("is piped"))]);
        let dnsmasq = Dnsmasq { process, output };
        dnsmasq.says("started, version", 1);
        dnsmasq
    }

    /// Waits until its log has this so many times.
    pub fn says(&self, text: &str, times: usize) {
        self.output.says(text, times);
    }

    /// Its log.
    pub fn said(&self) -> String {
        self.output.said()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Its log is ahead of its answers. Killed in between, it would leave a client waiting that no longer asks.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("dnsmasq said:\n{}", self.said());
        }
    }
}
