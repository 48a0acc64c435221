//! A set of numbers that are mostly neighbours, such as pages.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// Ranges by their start; they neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    ranges: BTreeMap<u32, u32>,
    len: u64,
}

impl RangeSet {
    /// How many numbers are in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// The range of it that has `number`.
    pub(super) fn around(&self, number: u32) -> Option<Range<u32>> {
        let (start, end) = self.ranges.range(..=number).next_back()?;
        (number < *end).then_some(*start..*end)
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.around(number).is_some()
    }

    /// The first number of it that is `number` or more.
    pub(super) fn next(&self, number: u32) -> Option<u32> {
        if self.contains(number) { Some(number) } else { Some(*self.ranges.range(number..).next()?.0) }
    }

    /// Adds all of `range`; what is there already stays.
    pub(super) fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        self.remove(range.clone());
        self.len += u64::from(range.end - range.start);
        let mut joined = range;
        if let Some((start, end)) = self.ranges.range(..joined.start).next_back()
            && *end == joined.start
        {
            joined.start = *start;
        }
        if let Some(end) = self.ranges.remove(&joined.end) {
            joined.end = end;
        }
        self.ranges.insert(joined.start, joined.end);
    }

    /// Takes all of `range` out; what is not there is not missed.
    pub(super) fn remove(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        while let Some((start, end)) = self.ranges.range(..range.end).next_back().map(|(start, end)| (*start, *end)) {
            if end <= range.start {
                return;
            }
            self.ranges.remove(&start);
            if start < range.start {
                self.ranges.insert(start, range.start);
            }
            if end > range.end {
                self.ranges.insert(range.end, end);
            }
            self.len -= u64::from(end.min(range.end) - start.max(range.start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use unikernel_rt::sim::Random;

    #[test]
    fn it_is_a_set() {
        let mut random = Random::new(1);
        let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
        for _ in 0..5000 {
            let start = random.below(200) as u32;
            let range = start..start + random.below(20) as u32;
            if random.chance(500) {
                set.insert(range.clone());
                model.extend(range);
            } else {
                set.remove(range.clone());
                model.retain(|number| !range.contains(number));
            }
            assert!(set.iter().flatten().eq(model.iter().copied()));
            assert_eq!(set.len(), model.len() as u64);
            let ranges: Vec<_> = set.iter().collect();
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "they touch: {ranges:?}");
            let number = random.below(200) as u32;
            assert_eq!(set.next(number), model.range(number..).next().copied());
        }
    }
}
