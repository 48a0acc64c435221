//! Questions as bytes, and the frame of an answer: header and records (RFC 1035, 4).

use super::{
    limits::UDP_ANSWER_LEN_MAX,
    name::{Labels, Name},
};
use alloc::vec::Vec;

pub(crate) const CLASS_INTERNET: u16 = 1;
pub(crate) const TYPE_A: u16 = 1;
pub(crate) const TYPE_NS: u16 = 2;
pub(crate) const TYPE_CNAME: u16 = 5;
pub(crate) const TYPE_SOA: u16 = 6;
pub(crate) const TYPE_AAAA: u16 = 28;
/// The pseudo record of EDNS(0) (RFC 6891).
pub(crate) const TYPE_OPT: u16 = 41;

const FLAG_RESPONSE: u16 = 1 << 15;
const FLAG_TRUNCATED: u16 = 1 << 9;
const FLAG_RECURSION_DESIRED: u16 = 1 << 8;

/// Which addresses a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    A,
    Aaaa,
}

impl Kind {
    pub(crate) fn code(self) -> u16 {
        match self {
            Kind::A => TYPE_A,
            Kind::Aaaa => TYPE_AAAA,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
}

impl Question {
    /// The message that asks it. With `edns` it says which length of answer it takes; servers that do not know EDNS
    /// refuse such a question.
    pub(crate) fn message(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut message = Vec::with_capacity(512);
        for word in [id, FLAG_RECURSION_DESIRED, 1, 0, 0, edns.into()] {
            message.extend(word.to_be_bytes());
        }
        message.extend(self.name.wire());
        for word in [self.kind.code(), CLASS_INTERNET] {
            message.extend(word.to_be_bytes());
        }
        if edns {
            // RFC 6891, 6.1.2: the root, OPT, the length, no extended code, version 0, no flags, no options.
            message.push(0);
            for word in [TYPE_OPT, UDP_ANSWER_LEN_MAX as u16, 0, 0, 0] {
                message.extend(word.to_be_bytes());
            }
        }
        message
    }
}

/// Reads a message from front to back; every read is `None` past its end.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8], at: usize) -> Reader<'a> {
        Reader { message, at }
    }

    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let bytes = self.message.get(self.at..)?.first_chunk()?;
        self.at += LEN;
        Some(*bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn name(&mut self) -> Option<Labels<'a>> {
        let (labels, end) = Labels::check(self.message, self.at)?;
        self.at = end;
        Some(labels)
    }

    /// The record that begins here.
    pub(crate) fn record(&mut self) -> Option<Record<'a>> {
        let owner = self.name()?;
        let (kind, class, ttl, len) = (self.u16()?, self.u16()?, self.u32()?, self.u16()?);
        let start = self.at;
        self.at += usize::from(len);
        Some(Record { owner, kind, class, ttl, message: self.message.get(..self.at)?, start })
    }
}

/// A record of any section.
pub(crate) struct Record<'a> {
    pub(crate) owner: Labels<'a>,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// As it stands there; [`Record::ttl`] is what it means.
    ttl: u32,
    /// The message up to the end of the record.
    message: &'a [u8],
    /// Where the record's data begins.
    start: usize,
}

impl<'a> Record<'a> {
    pub(crate) fn data(&self) -> &'a [u8] {
        &self.message[self.start..]
    }

    /// Seconds to live: with the highest bit set it means zero (RFC 2181, 8).
    pub(crate) fn ttl(&self) -> u32 {
        if self.ttl >> 31 == 1 { 0 } else { self.ttl }
    }

    /// The upper bits of the response code, in an OPT record (RFC 6891, 6.1.3).
    pub(crate) fn extended_code(&self) -> u8 {
        (self.ttl >> 24) as u8
    }

    /// The name that is the data of a CNAME.
    pub(crate) fn target(&self) -> Option<Labels<'a>> {
        let mut reader = Reader::new(self.message, self.start);
        reader.name().filter(|_| reader.at == self.message.len())
    }

    /// How long the absence that an SOA goes with may be remembered, in seconds (RFC 2308, 5).
    pub(crate) fn negative_ttl(&self) -> Option<u32> {
        let mut reader = Reader::new(self.message, self.start);
        reader.name()?;
        reader.name()?;
        let [_serial, _refresh, _retry, _expire] = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let minimum = reader.u32()?;
        (reader.at == self.message.len()).then(|| minimum.min(self.ttl()))
    }

    /// Whether the data has the form that its type asks for, where that matters here.
    fn is_well_formed(&self) -> bool {
        match self.kind {
            _ if self.kind != TYPE_OPT && self.class != CLASS_INTERNET => true,
            TYPE_A => self.data().len() == 4,
            TYPE_AAAA => self.data().len() == 16,
            TYPE_CNAME => self.target().is_some(),
            TYPE_SOA => self.negative_ttl().is_some(),
            _ => true,
        }
    }
}

/// The fixed part of a message.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) id: u16,
    flags: u16,
    pub(crate) questions: u16,
    records: [u16; 3],
}

impl Header {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Header> {
        let (id, flags, questions) = (reader.u16()?, reader.u16()?, reader.u16()?);
        Some(Header { id, flags, questions, records: [reader.u16()?, reader.u16()?, reader.u16()?] })
    }

    /// Whether it is the response to an ordinary query.
    pub(crate) fn is_response(&self) -> bool {
        self.flags & FLAG_RESPONSE != 0 && (self.flags >> 11) & 15 == 0
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags & FLAG_TRUNCATED != 0
    }

    pub(crate) fn code(&self) -> u8 {
        (self.flags & 15) as u8
    }
}

/// One section of records, every one of them checked.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    reader: Reader<'a>,
    left: u16,
}

impl<'a> Section<'a> {
    /// The sections that follow the question, in the order answer, authority, additional. `None` when a record of them
    /// is malformed; what follows the last one is nobody's and ignored.
    pub(crate) fn read_all(header: &Header, mut reader: Reader<'a>) -> Option<[Section<'a>; 3]> {
        let mut sections = header.records.map(|left| Section { reader: reader.clone(), left });
        for section in &mut sections {
            section.reader = reader.clone();
            for _ in 0..section.left {
                reader.record().filter(Record::is_well_formed)?;
            }
        }
        Some(sections)
    }

    /// Its records of type `kind` that are owned by `owner`.
    pub(crate) fn of<'s>(&'s self, owner: &'s Labels<'_>, kind: u16) -> impl Iterator<Item = Record<'a>> + 's {
        self.records(kind).filter(move |record| record.owner.is(owner))
    }

    /// Its records of type `kind`.
    pub(crate) fn records(&self, kind: u16) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let Section { mut reader, left } = self.clone();
        let all = (0..left).map_while(move |_| reader.record());
        all.filter(move |record| record.kind == kind && (kind == TYPE_OPT || record.class == CLASS_INTERNET))
    }
}
