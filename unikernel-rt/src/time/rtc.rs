//! What the registers of a PC's battery-backed clock mean (Motorola MC146818A). Hypervisors keep it in UTC.

/// The registers, in the clock's own coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) second: u8,
    pub(crate) minute: u8,
    pub(crate) hour: u8,
    pub(crate) day: u8,
    pub(crate) month: u8,
    pub(crate) year: u8,
    /// Memory that only later clocks use for this; what is no likely century is not believed.
    pub(crate) century: u8,
    pub(crate) status_b: u8,
}

/// Status B: numbers are binary, not one digit in each half.
const BINARY: u8 = 1 << 2;
/// Status B: hours go from 0 to 23, not from 1 to 12 twice.
const HOURS_24: u8 = 1 << 1;
/// In the hour of a 12-hour clock.
const AFTERNOON: u8 = 1 << 7;

impl Registers {
    /// Seconds since 1970. `None` when it is no moment: a bus without a clock answers 0xff or 0 everywhere.
    pub(crate) fn unix_seconds(&self) -> Option<u64> {
        let [second, minute, day, month, year] =
            [self.second, self.minute, self.day, self.month, self.year].map(|value| self.number(value));
        let (second, minute, hour) = (second?, minute?, self.hour()?);
        let (day, month, year) = (day?, month?, self.century() * 100 + u64::from(year?));
        let sane = second < 60 && minute < 60 && (1..=12).contains(&month) && day >= 1 && day <= days_of(month, year);
        sane.then(|| {
            let days = super::date::days_of(year, month.into(), day.into());
            ((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second)
        })
    }

    fn number(&self, value: u8) -> Option<u8> {
        let (tens, ones) = (value >> 4, value & 15);
        match self.status_b & BINARY {
            0 => (tens < 10 && ones < 10).then_some(tens * 10 + ones),
            _ => (value < 100).then_some(value),
        }
    }

    fn hour(&self) -> Option<u8> {
        if self.status_b & HOURS_24 != 0 {
            return self.number(self.hour).filter(|hour| *hour < 24);
        }
        let hour = self.number(self.hour & !AFTERNOON).filter(|hour| (1..=12).contains(hour))?;
        Some(hour % 12 + if self.hour & AFTERNOON != 0 { 12 } else { 0 })
    }

    fn century(&self) -> u64 {
        self.number(self.century).filter(|century| matches!(century, 20 | 21)).unwrap_or(20).into()
    }
}

fn days_of(month: u8, year: u64) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registers as century, year, month, day, hour, minute, second, and status B.
    fn check(registers: [u8; 7], status_b: u8, expected: Option<u64>) {
        let [century, year, month, day, hour, minute, second] = registers;
        let registers = Registers { second, minute, hour, day, month, year, century, status_b };
        assert_eq!(registers.unix_seconds(), expected, "{registers:x?}");
    }

    // The expected seconds are those of GNU date.
    #[test]
    fn moments() {
        check([0x20, 0x26, 0x11, 0x24, 0x03, 0x05, 0x09], HOURS_24, Some(1_795_489_509));
        check([20, 26, 11, 24, 3, 5, 9], HOURS_24 | BINARY, Some(1_795_489_509));
        check([0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00], HOURS_24, Some(946_684_800));
        check([0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59], HOURS_24, Some(1_709_251_199));
        check([0x20, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59], HOURS_24, Some(4_102_444_799));
        check([0x21, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00], HOURS_24, Some(4_107_542_400));
    }

    #[test]
    fn twice_twelve_hours() {
        let midnight = 1_795_478_400;
        for (hour, expected) in [(0x12, 0), (0x01, 1), (0x11, 11), (0x92, 12), (0x81, 13), (0x91, 23)] {
            check([0x20, 0x26, 0x11, 0x24, hour, 0, 0], 0, Some(midnight + expected * 3600));
        }
        check([20, 26, 11, 24, 0x80 | 11, 0, 0], BINARY, Some(midnight + 23 * 3600));
        check([0x20, 0x26, 0x11, 0x24, 0x00, 0, 0], 0, None);
        check([0x20, 0x26, 0x11, 0x24, 0x13, 0, 0], 0, None);
    }

    #[test]
    fn unlikely_centuries_are_not_believed() {
        for century in [0x00, 0x19, 0x22, 0xff, 0x5a] {
            check([century, 0x26, 0x11, 0x24, 0x00, 0x00, 0x00], HOURS_24, Some(1_795_478_400));
        }
    }

    #[test]
    fn what_is_no_moment() {
        check([0xff; 7], 0xff, None);
        check([0; 7], 0, None);
        check([0x20, 0x26, 0x13, 0x24, 0, 0, 0], HOURS_24, None);
        check([0x20, 0x26, 0x02, 0x29, 0, 0, 0], HOURS_24, None);
        check([0x21, 0x00, 0x02, 0x29, 0, 0, 0], HOURS_24, None);
        check([0x20, 0x26, 0x04, 0x31, 0, 0, 0], HOURS_24, None);
        check([0x20, 0x26, 0x11, 0x24, 0x24, 0, 0], HOURS_24, None);
        check([0x20, 0x26, 0x11, 0x24, 0, 0x60, 0], HOURS_24, None);
        check([0x20, 0x26, 0x11, 0x24, 0, 0, 0x5a], HOURS_24, None);
        check([20, 126, 11, 24, 0, 0, 0], HOURS_24 | BINARY, None);
    }
}
