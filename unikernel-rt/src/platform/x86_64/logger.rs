//! defmt's way to the log. A frame stands between two bytes that never occur in UTF-8, so a reader of the console finds
//! frames among plain text, and finds its way again after a damaged one.

use super::{log_ring::tell_readers, with_log};
use crate::log::{
    level::is_on,
    ring::{Kind, Level},
};
use core::cell::UnsafeCell;

const FRAME_START: u8 = 0xc0;
const FRAME_END: u8 = 0xc1;
const ESCAPE: u8 = 0xdb;
const ESCAPE_FLIP: u8 = 0x20;

#[defmt::global_logger]
struct Logger;

struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: one core, and interrupt handlers do not log; so between acquire and release nobody else comes.
unsafe impl Sync for Encoder {}

static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

fn write_escaped(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(*byte, FRAME_START | FRAME_END | ESCAPE)) {
        write(&rest[..at]);
        write(&[ESCAPE, rest[at] ^ ESCAPE_FLIP]);
        rest = &rest[at + 1..];
    }
    write(rest);
}

fn write(bytes: &[u8]) {
    with_log(|log| log.write(bytes));
}

// SAFETY: as for `Encoder`: one core, no logging in interrupt handlers. A value that logs while it is formatted begins a
// line inside a line, which the log drops; a panic in between discards the line.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        with_log(|log| {
            log.open(Kind::Frame, None);
            log.write(&[FRAME_START]);
        });
        // SAFETY: nobody else holds the encoder, see above.
        unsafe { (*ENCODER.0.get()).start_frame(write_escaped) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: nobody else holds the encoder, see above.
        unsafe { (*ENCODER.0.get()).end_frame(write_escaped) }
        with_log(|log| {
            log.write(&[FRAME_END]);
            log.close();
        });
        tell_readers();
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: nobody else holds the encoder, see above.
        unsafe { (*ENCODER.0.get()).write(bytes, write_escaped) }
    }
}

defmt::timestamp!("{=u64:us}", super::now_micros());

/// Third-party crates log through the `log` crate.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    #[cfg(not(feature = "text-log"))]
    fn log(&self, record: &log::Record<'_>) {
        let (target, text) = (record.target(), crate::log::Display2Format(record.args()));
        // Whether it is logged is up to the module that the record comes from, and not to this one.
        match record.level() {
            log::Level::Error if is_on(Level::Error, target) => crate::__log_line!(error, "{}: {}", target, text),
            log::Level::Warn if is_on(Level::Warn, target) => crate::__log_line!(warn, "{}: {}", target, text),
            log::Level::Info if is_on(Level::Info, target) => crate::__log_line!(info, "{}: {}", target, text),
            log::Level::Error | log::Level::Warn | log::Level::Info => {}
            // More than the level of the build is formatted for nothing, so it does not come here.
            log::Level::Debug | log::Level::Trace => {}
        }
    }

    #[cfg(feature = "text-log")]
    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        };
        if is_on(level, record.target()) {
            crate::log::line(level, record.target(), *record.args());
        }
    }

    fn flush(&self) {}
}

/// Lets records of the `log` crate in.
pub(super) fn init() {
    // A second logger cannot be there: this is the first code that runs.
    let _ = log::set_logger(&Bridge);
    log::set_max_level(log::LevelFilter::Info);
}
