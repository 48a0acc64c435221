//! The measurements, in the order of the table.

mod disk;
mod network;
mod protections;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::boot::{first_answer, first_log_line};
use crate::cases;
use crate::heap::Heap;
use crate::linux::Linux;
use crate::load::{self, Load, Span};
use crate::namespace::GUEST;
use crate::profile::Recording;
use crate::project::Project;
use crate::report::{Report, Side};
use crate::tls::TLS_PORT;
use crate::upload::{self, Uploader};
use crate::vm::{Counting, Guest, Machine, Vm};
use crate::{Options, Result, What, error, flood, mixed, size};

/// A run of the benchmark.
pub struct Bench<'run> {
    /// What was measured up to now.
    pub report: Report,
    pub(crate) options: &'run Options,
    project: &'run Project,
    folder: &'run Path,
}

/// Linux under emulation takes up to 5 s; on a busy machine much longer.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// Our images answer within a second; a memory that is too small shows by then.
const SMALL_BOOT_LIMIT: Duration = Duration::from_secs(20);

impl<'run> Bench<'run> {
    /// A run that has measured nothing yet.
    pub fn new(options: &'run Options, project: &'run Project, folder: &'run Path) -> Self {
        Bench { report: Report::default(), options, project, folder }
    }

    /// Measures all that was asked for.
    pub fn measure(&mut self) -> Result {
        if self.options.wants_ours() {
            if self.options.wants(What::Size) {
                self.sizes()?;
            }
            if self.options.wants(What::Memory) {
                self.memory()?;
            }
            if self.options.wants(What::Protections) {
                self.protections()?;
            }
            let guest = self.ours();
            self.measure_side(Side::Ours, &guest, &guest.clone())?;
        }
        if self.options.wants_linux() {
            let linux = Linux::in_cache(&self.project.cache);
            self.measure_side(Side::Linux, &linux.guest(), &linux.small_guest())?;
        }
        if self.options.wants(What::Disk) {
            self.disks()?;
        }
        Ok(())
    }

    /// Shows where the instructions go.
    pub fn profile(&mut self) -> Result {
        let guest = self.ours();
        let usual = ["hello64".to_owned()];
        let asked = &self.options.case[..];
        for case in if asked.is_empty() { &usual } else { asked } {
            let recording = self.record(&guest, case)?;
            println!("{case}: {}", recording.table(&guest, self.options.by, self.options.top)?);
        }
        Ok(())
    }

    /// A case, or one of `boot`, `log` (start to the first log line) and `idle`.
    fn record(&self, guest: &Guest, case: &str) -> Result<Recording> {
        let mut vm = self.boot(guest, Counting::Profile)?;
        if case == "log" {
            first_log_line(&mut vm, BOOT_LIMIT)?;
            return Recording::since_start(&vm);
        }
        first_answer(&mut vm, address(guest), "/hello", BOOT_LIMIT)?;
        match case {
            "boot" => Recording::since_start(&vm),
            "idle" => {
                thread::sleep(Duration::from_secs(12));
                Recording::of_silence(&vm, Duration::from_secs(10))
            }
            _ => self.record_case(&vm, guest, case),
        }
    }

    fn record_case(&self, vm: &Vm, guest: &Guest, case: &str) -> Result<Recording> {
        let address = address(guest);
        if let Some(case) = cases::load_case(case) {
            return Recording::of_load(vm, guest, &case.load, self.span());
        }
        if let Some(flood) = flood::flood(case) {
            return Recording::around(vm, "packet", || flood::alone(address, flood, self.flood_time()));
        }
        let mut uploader = Uploader::connect(address)?;
        uploader.upload()?;
        Recording::around(vm, "MB", || uploader.upload().map(|_| upload::BODY_LEN as f64 / 1e6))
    }

    fn measure_side(&mut self, side: Side, guest: &Guest, small: &Guest) -> Result {
        if self.options.wants(What::Boot) {
            self.boots(side, small)?;
        }
        if self.options.wants(What::Idle) {
            self.idle(side, small)?;
        }
        if self.options.wants(What::Load) {
            self.loaded(side, guest)?;
        }
        if self.options.wants(What::Upload) {
            self.upload(side, guest)?;
        }
        if self.options.wants(What::Tls) {
            self.tls(side, guest)?;
        }
        if self.options.wants(What::Flood) {
            self.floods(side, small)?;
        }
        if self.options.wants(What::Connections) {
            self.connections(side, small)?;
        }
        // With nginx only when it is asked for alone, as a check of the clients.
        if self.options.wants(What::Mixed) && side == self.side_of_mixed() {
            self.mixed(side, guest)?;
        }
        Ok(())
    }

    fn side_of_mixed(&self) -> Side {
        if self.options.wants_ours() { Side::Ours } else { Side::Linux }
    }

    fn boots(&mut self, side: Side, guest: &Guest) -> Result {
        let machines =
            [("microvm", Machine::Microvm), ("microvm-no-acpi", Machine::MicrovmNoAcpi), ("q35", Machine::Q35)];
        for (name, machine) in machines {
            // Debian's kernel hangs on microvm without a PIT, and finds no device there without ACPI.
            if side == Side::Linux && machine != Machine::Q35 {
                continue;
            }
            let guest = Guest { machine, ..guest.clone() };
            let mut boots = Vec::new();
            for _ in 0..if self.options.quick { 1 } else { 5 } {
                let mut vm = self.boot(&guest, Counting::Totals)?;
                boots.push(first_answer(&mut vm, address(&guest), "/hello", BOOT_LIMIT)?);
            }
            boots.sort_by_key(|boot| boot.instructions);
            let median = boots[boots.len() / 2];
            let millions = median.instructions as f64 / 1e6;
            self.report.add(side, &format!("boot.{name}.insn"), millions);
            self.report.add(side, &format!("boot.{name}.ms"), median.elapsed.as_secs_f64() * 1e3);
        }
        Ok(())
    }

    fn idle(&mut self, side: Side, guest: &Guest) -> Result {
        let mut vm = self.serving(guest)?;
        // Time for what a boot leaves behind: closing connections, answers to ARP.
        thread::sleep(Duration::from_secs(if self.options.quick { 3 } else { 12 }));
        let seconds = if self.options.quick { 5 } else { 15 };
        let before = vm.counts().instructions;
        thread::sleep(Duration::from_secs(seconds));
        let executed = vm.counts().instructions - before;
        // A guest that has died executes nothing, either.
        first_answer(&mut vm, address(guest), "/hello", BOOT_LIMIT)
            .map_err(|cause| error(format!("the guest does not answer after being idle: {cause}")))?;
        self.report.add(side, "idle.insn", executed as f64 / seconds as f64);
        Ok(())
    }

    fn sizes(&mut self) -> Result {
        let hello = size::measure(&self.project.image("hello"), None, self.folder)?;
        self.report.add(Side::Ours, "size.hello", hello.total as f64 / 1e3);
        let served = self.project.root.join("examples/static-site");
        let image = self.project.image("static-site");
        let site = size::measure(&image, Some(&served), self.folder)?;
        self.report.add(Side::Ours, "size.static-site", site.total as f64 / 1e3);
        let bare = (site.total - site.files) as f64 / 1e3;
        self.report.add(Side::Ours, "size.static-site.bare", bare);
        Ok(())
    }

    fn memory(&mut self) -> Result {
        let hello = self.project.guest(&self.project.image("hello"), 0);
        let hello = Guest { arguments: String::new(), ..hello };
        let smallest = self.smallest_memory(&hello, |vm| first_log_line(vm, SMALL_BOOT_LIMIT))?;
        self.report.add(Side::Ours, "memory.hello", f64::from(smallest));
        let site = self.project.guest(&self.project.image("static-site"), 8080);
        let address = address(&site);
        let smallest = self.smallest_memory(&site, |vm| first_answer(vm, address, "/", SMALL_BOOT_LIMIT).map(drop))?;
        self.report.add(Side::Ours, "memory.static-site", f64::from(smallest));
        Ok(())
    }

    /// Bisects the MiB with which a guest does what it should.
    fn smallest_memory(&self, guest: &Guest, works: impl Fn(&mut Vm) -> Result) -> Result<u32> {
        let works_with = |memory_mib| -> Result {
            let guest = Guest { memory_mib, ..guest.clone() };
            works(&mut self.boot(&guest, Counting::Totals)?)
        };
        let (mut too_small, mut enough) = (0, 64);
        works_with(enough)?;
        while enough - too_small > 1 {
            let middle = (too_small + enough) / 2;
            match works_with(middle) {
                Ok(()) => enough = middle,
                Err(_) => too_small = middle,
            }
        }
        Ok(enough)
    }

    fn mixed(&mut self, side: Side, guest: &Guest) -> Result {
        let _vm = self.serving(guest)?;
        let duration = Duration::from_secs_f64(self.options.minutes * 60.0);
        let found = mixed::run(address(guest), duration)?;
        self.report.add(side, "mixed.answers", found.answers as f64);
        self.report.add(side, "mixed.wrong", found.wrong as f64);
        self.report.add(side, "mixed.stalls", found.stalls as f64);
        self.report.add(side, "mixed.slowest", found.slowest.as_secs_f64() * 1e3);
        for trouble in found.troubles {
            self.report.note(format!("{side:?} mixed: {trouble}"));
        }
        self.heap(side, "mixed", found.heap);
        Ok(())
    }

    fn heap(&mut self, side: Side, case: &str, heap: Option<Heap>) {
        match heap {
            Some(heap) => {
                for (when, bytes) in [("first", heap.first), ("before", heap.before), ("after", heap.after)] {
                    self.report.add(side, &format!("{case}.{when}"), bytes as f64 / 1e3);
                }
            }
            None if side == Side::Ours => {
                self.report.note(format!("{side:?} {case}: no /stats, so the heap was not compared"));
            }
            None => {}
        }
    }

    /// The image to measure.
    fn ours(&self) -> Guest {
        let ours = || self.project.image("bench-site");
        let kernel: PathBuf = self.options.guest.clone().unwrap_or_else(ours);
        let Options { machine, append, port, .. } = self.options;
        Guest { machine: *machine, arguments: append.clone(), ..self.project.guest(&kernel, *port) }
    }

    fn boot(&self, guest: &Guest, counting: Counting) -> Result<Vm> {
        Vm::start(self.folder, &self.project.plugin(), guest, counting)
    }

    /// A guest that answers.
    fn serving(&self, guest: &Guest) -> Result<Vm> {
        self.serving_page(guest, "/hello")
    }

    /// A guest that answers, with this page.
    fn serving_page(&self, guest: &Guest, path: &str) -> Result<Vm> {
        let mut vm = self.boot(guest, Counting::Totals)?;
        first_answer(&mut vm, address(guest), path, BOOT_LIMIT)?;
        Ok(vm)
    }

    fn span(&self) -> Span {
        let seconds =
            |warm_up, counted| Span { warm_up: Duration::from_secs(warm_up), counted: Duration::from_secs(counted) };
        if self.options.quick { seconds(1, 2) } else { seconds(3, 8) }
    }

    /// Long enough for 100,000 packets.
    fn flood_time(&self) -> Duration {
        Duration::from_secs(if self.options.quick { 2 } else { 10 })
    }
}

/// Where a guest serves.
pub fn address(guest: &Guest) -> SocketAddr {
    load::address_of(GUEST, guest.port)
}

/// Where it serves what this load asks for.
pub fn load_address(guest: &Guest, load: &Load) -> SocketAddr {
    load::address_of(GUEST, if load.tls.is_some() { TLS_PORT } else { guest.port })
}
