//! Disks: each case on both sides by turns, since what the machine is busy with changes within minutes.

use super::{Bench, address};
use crate::cases::{DISK_SITE, DISK_SITE_LOAD};
use crate::disk::images::{Image, Images};
use crate::disk::{self, DiskCase, Outcome, Per};
use crate::linux::Linux;
use crate::load;
use crate::report::Side;
use crate::vm::{Counting, Guest};
use crate::{Result, What, error};

/// One side's way to do a case, and what came of it.
struct Way {
    side: Side,
    work: &'static str,
    outcomes: Vec<Outcome>,
}

impl Bench<'_> {
    pub(super) fn disks(&mut self) -> Result {
        let images = Images::in_cache(&self.project.cache);
        for id in self.options.cases(What::Disk) {
            match disk::case(id) {
                Some(case) => self.disk_case(&images, case)?,
                None if id == DISK_SITE && self.options.wants_ours() => self.disk_site(&images)?,
                None => {}
            }
        }
        Ok(())
    }

    fn disk_case(&mut self, images: &Images, case: &DiskCase) -> Result {
        let (rounds, count) = if self.options.quick { (1, case.count.div_ceil(5)) } else { (3, case.count) };
        let mut ways = self.ways(case);
        for _ in 0..rounds {
            for way in &mut ways {
                match self.disk_work(images, case, count, way) {
                    Ok(outcome) => way.outcomes.push(outcome),
                    Err(cause) => self.report.note(format!("{:?} {}: {cause}", way.side, way.work)),
                }
            }
        }
        for side in [Side::Ours, Side::Linux] {
            self.fastest(case, ways.iter_mut().filter(|way| way.side == side));
        }
        Ok(())
    }

    fn ways(&self, case: &DiskCase) -> Vec<Way> {
        let ours = self.options.wants_ours().then_some((Side::Ours, case.id));
        let linux = if self.options.wants_linux() { case.linux } else { &[] };
        let all = ours.into_iter().chain(linux.iter().map(|work| (Side::Linux, *work)));
        all.map(|(side, work)| Way { side, work, outcomes: Vec::new() }).collect()
    }

    /// Boots a guest that does the work once, on a disk that is made for it.
    fn disk_work(&self, images: &Images, case: &DiskCase, count: u64, way: &Way) -> Result<Outcome> {
        let disk = images.disk(case.image, way.side)?;
        let guest = match way.side {
            Side::Ours => Guest {
                arguments: format!("work={} count={count}", way.work),
                disk: Some(disk),
                machine: self.options.machine,
                ..self.project.guest(&self.project.image("bench-disk"), 0)
            },
            Side::Linux => Linux::in_cache(&self.project.cache).disk_guest(way.work, count, &disk),
        };
        let outcome = disk::run(&mut self.boot(&guest, Counting::Totals)?)?;
        let want = images.sum(case, count)?;
        if want.is_some_and(|want| want.0 != outcome.sum) {
            return Err(error(format!("the guest did not read what is on the disk (its sum is {:x})", outcome.sum)));
        }
        Ok(outcome)
    }

    /// Reports the way with the highest rate of a side, each by its median.
    fn fastest<'way>(&mut self, case: &DiskCase, ways: impl Iterator<Item = &'way mut Way>) {
        let mut medians: Vec<(&Way, Outcome)> =
            ways.filter_map(|way| median(&mut way.outcomes).map(|median| (&*way, median))).collect();
        medians.sort_by(|(_, left), (_, right)| right.rate_of(case.per).total_cmp(&left.rate_of(case.per)));
        let Some((way, fastest)) = medians.first() else { return };
        let side = way.side;
        if medians.len() > 1 {
            let rates = medians.iter().map(|(way, found)| format!("{} {:.0}", way.work, found.rate_of(case.per)));
            let rates: Vec<String> = rates.collect();
            self.report.note(format!("{side:?} {}: the fastest counts, of {}/s", case.id, rates.join("/s, ")));
        }
        if !fastest.clocks_agree() {
            let Outcome { seconds, host_seconds, .. } = fastest;
            self.report.note(format!("{side:?} {}: {seconds:.2} s are {host_seconds:.2} s on the host", case.id));
        }
        let instructions = fastest.instructions_per(case.per);
        if case.per == Per::Whole {
            self.report.add(side, &format!("{}.insn", case.id), instructions / 1e6);
            self.report.add(side, &format!("{}.ms", case.id), fastest.seconds * 1e3);
        } else {
            self.report.add(side, &format!("{}.insn", case.id), instructions);
            self.report.add(side, &format!("{}.rate", case.id), fastest.rate_of(case.per));
        }
    }

    /// A page from a disk beside the same from memory, with everything warm.
    fn disk_site(&mut self, images: &Images) -> Result {
        let embedded = self.ours();
        let disk = images.disk(Image::Site, Side::Ours)?;
        let from_disk = self.project.guest(&self.project.image("site-from-disk"), 8080);
        let from_disk = Guest { disk: Some(disk), machine: self.options.machine, ..from_disk };
        for (row, guest) in [("disk-site.embedded", embedded), ("disk-site.insn", from_disk)] {
            let vm = self.serving_page(&guest, DISK_SITE_LOAD.path)?;
            match load::run(&vm, address(&guest), &DISK_SITE_LOAD, self.span()) {
                Ok(outcome) => self.report.add(Side::Ours, row, outcome.instructions_per_answer()),
                Err(cause) => self.report.note(format!("{:?} {row}: {cause}", Side::Ours)),
            }
        }
        Ok(())
    }
}

/// By the time it took.
fn median(outcomes: &mut [Outcome]) -> Option<Outcome> {
    outcomes.sort_by(|left, right| left.seconds.total_cmp(&right.seconds));
    outcomes.get(outcomes.len() / 2).copied()
}
