//! What is measured on both sides over the network: loads, TLS, uploads, floods, many connections.

use std::net::SocketAddr;

use super::{Bench, address, load_address};
use crate::cases::{self, LoadCase};
use crate::connections::Idle;
use crate::flood::{self, Findings};
use crate::linux::{self, UPLOAD_PORT};
use crate::load::{self, Outcome};
use crate::namespace::GUEST;
use crate::report::Side;
use crate::tls::{self, TLS_PORT};
use crate::upload::{self, Uploader};
use crate::vm::{Guest, Vm};
use crate::{Result, What, error};

/// Connections that are only open, beside the load.
const IDLE_CONNECTIONS: usize = 10_000;

impl Bench<'_> {
    pub(super) fn loaded(&mut self, side: Side, guest: &Guest) -> Result {
        let cases = self.options.cases(What::Load);
        self.load_cases(side, guest, &cases)
    }

    pub(super) fn tls(&mut self, side: Side, guest: &Guest) -> Result {
        let vm = self.serving(guest)?;
        if let Err(cause) = tls::check(load::address_of(GUEST, TLS_PORT)) {
            self.report.note(format!("{side:?} TLS: {cause}"));
            return Ok(());
        }
        drop(vm);
        let cases = self.options.cases(What::Tls);
        self.load_cases(side, guest, &cases)
    }

    fn load_cases(&mut self, side: Side, guest: &Guest, ids: &[&str]) -> Result {
        let mut vm = self.serving(guest)?;
        for case in ids.iter().filter_map(|id| cases::load_case(id)) {
            match load::run(&vm, load_address(guest, &case.load), &case.load, self.span()) {
                Ok(outcome) => self.loaded_with(side, case, &outcome),
                Err(cause) => {
                    self.report.note(format!("{side:?} {}: {cause}", case.id));
                    // The other cases get a guest that has not failed.
                    drop(vm);
                    vm = self.serving(guest)?;
                }
            }
        }
        self.offloads(side, &vm);
        Ok(())
    }

    fn loaded_with(&mut self, side: Side, case: &LoadCase, outcome: &Outcome) {
        self.remarks(side, case.id, outcome);
        let resumes = case.load.tls.is_some_and(|tls| tls.resumes);
        if resumes && outcome.resumed < outcome.answers {
            let (resumed, all) = (outcome.resumed, outcome.answers);
            // Its values would be those of the full handshake, more or less.
            self.report.note(format!("{side:?} {}: only {resumed} of {all} handshakes resumed a session", case.id));
            return;
        }
        let instructions = outcome.instructions_per_answer() / case.times(case.instructions_per);
        self.report.add(side, &format!("{}.insn", case.id), instructions);
        let rate = outcome.answers_per_second() * case.times(case.rate_of);
        self.report.add(side, &format!("{}.rate", case.id), rate);
    }

    /// nginx writes a body to a file or hands it on, so a program of its own takes it in the Linux guest.
    pub(super) fn upload(&mut self, side: Side, guest: &Guest) -> Result {
        let vm = self.serving(guest)?;
        let port = if side == Side::Linux { UPLOAD_PORT } else { guest.port };
        match self.uploaded(&vm, load::address_of(GUEST, port)) {
            Ok((instructions, rate)) => {
                self.report.add(side, "upload.insn", instructions);
                self.report.add(side, "upload.rate", rate);
            }
            Err(cause) => self.report.note(format!("{side:?} upload: {cause}")),
        }
        self.offloads(side, &vm);
        Ok(())
    }

    /// Instructions for a megabyte, and megabytes a second, after one upload for caches and windows to settle.
    fn uploaded(&self, vm: &Vm, address: SocketAddr) -> Result<(f64, f64)> {
        let mut uploader = Uploader::connect(address)?;
        uploader.upload()?;
        let rounds = if self.options.quick { 1 } else { 5 };
        let (before, mut seconds) = (vm.counts().instructions, 0.0);
        for _ in 0..rounds {
            seconds += uploader.upload()?;
        }
        let megabytes = (rounds * upload::BODY_LEN) as f64 / 1e6;
        Ok(((vm.counts().instructions - before) as f64 / megabytes, megabytes / seconds))
    }

    pub(super) fn floods(&mut self, side: Side, guest: &Guest) -> Result {
        for id in self.options.cases(What::Flood) {
            let Some(flood) = flood::flood(id) else { continue };
            let vm = self.serving(guest)?;
            match flood::run(&vm, address(guest), flood, self.flood_time()) {
                Ok(found) => self.flooded(side, id, &found),
                Err(cause) => self.report.note(format!("{side:?} {id}: {cause}")),
            }
        }
        Ok(())
    }

    fn flooded(&mut self, side: Side, id: &str, found: &Findings) {
        let Findings { sent, quiet, flooded, .. } = found;
        let mut add = |row: &str, value| self.report.add(side, &format!("{id}.{row}"), value);
        add("sent", f64::from(sent.packets));
        add("insn", found.instructions / f64::from(sent.packets));
        add("failures", (flooded.keep.failures + flooded.new.failures) as f64);
        for (kind, quiet, flooded) in [("keep", &quiet.keep, &flooded.keep), ("new", &quiet.new, &flooded.new)] {
            for percent in [50, 99] {
                add(&format!("{kind}.p{percent}.quiet"), quiet.percentile(percent));
                add(&format!("{kind}.p{percent}"), flooded.percentile(percent));
            }
        }
        self.heap(side, id, found.heap);
        self.flood_remarks(side, id, found);
    }

    fn flood_remarks(&mut self, side: Side, id: &str, found: &Findings) {
        let Findings { sent, quiet, flooded, .. } = found;
        let seconds = sent.time.as_secs_f64();
        eprintln!("{side:?} {id}: {} packets in {seconds:.1} s", sent.packets);
        if sent.dropped > 0 {
            self.report.note(format!("{side:?} {id}: {} frames found the guest's queue full", sent.dropped));
        }
        let failures = quiet.keep.failures + quiet.new.failures;
        if failures > 0 {
            self.report.note(format!("{side:?} {id}: {failures} honest requests failed without the flood"));
        }
        for trouble in
            [&quiet.keep, &quiet.new, &flooded.keep, &flooded.new].iter().filter_map(|times| times.trouble.as_ref())
        {
            self.report.note(format!("{side:?} {id}: an honest request: {trouble}"));
        }
    }

    /// Says what Linux and the tap agreed on, of what both guests are offered.
    fn offloads(&mut self, side: Side, vm: &Vm) {
        if side == Side::Linux {
            self.report.note(linux::offloads(&vm.console()));
        }
    }

    fn remarks(&mut self, side: Side, case: &str, outcome: &Outcome) {
        let host_micros = outcome.host_cpu.as_secs_f64() * 1e6 / outcome.answers as f64;
        eprintln!("{side:?} {case}: {host_micros:.1} µs of QEMU's CPU time/request");
        if outcome.failures > 0 {
            let failures = outcome.failures;
            self.report.note(format!("{side:?} {case}: {failures} connections failed"));
        }
    }

    pub(super) fn connections(&mut self, side: Side, guest: &Guest) -> Result {
        let vm = self.serving(guest)?;
        let load = &cases::load_case("hello64").ok_or_else(|| error("there is no case hello64"))?.load;
        let without = load::run(&vm, address(guest), load, self.span())?;
        self.report.add(side, "idle10k.without", without.instructions_per_answer());
        let idle = Idle::open(address(guest), IDLE_CONNECTIONS)?;
        let with = load::run(&vm, address(guest), load, self.span())?;
        // Counted last: a connection that was dropped meanwhile was not accepted for good.
        self.report.add(side, "idle10k.accepted", idle.still_open() as f64);
        self.report.add(side, "idle10k.insn", with.instructions_per_answer());
        self.remarks(side, "idle10k", &with);
        Ok(())
    }
}
