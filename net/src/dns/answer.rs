//! What a message says about a question.

use super::{
    limits::{ADDRESSES_MAX, ALIASES_MAX},
    message::{
        CLASS_INTERNET, Header, Kind, Question, Reader, Record, Section, TYPE_CNAME, TYPE_NS, TYPE_OPT, TYPE_SOA,
    },
    name::Name,
};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

// Response codes (RFC 1035, 4.1.1; RFC 2136, 2.2).
const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

/// An answer. Times to live are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// At least one address.
    Addresses { addresses: Vec<IpAddr>, ttl: u32 },
    /// Another name has them, and this message does not.
    Alias { target: Name, ttl: u32 },
    /// There is no such name; without a time it is not to be remembered (RFC 2308, 5).
    NoName { ttl: Option<u32> },
    /// There is, but without such addresses.
    NoData { ttl: Option<u32> },
    /// The message is cut; TCP has the whole one.
    Truncated,
    /// The server does not know this form of question; it may know one without EDNS.
    NotUnderstood,
    /// The server cannot or will not say.
    Failed,
    /// The aliases go round in circles, or there are too many.
    Loop,
}

/// Why a message is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It belongs to another question; the right one may still come (RFC 5452, 9.1).
    Foreign,
    /// The question is the right one, and what follows is not well-formed.
    Malformed,
}

impl Answer {
    /// What `message` says about `question`, which was sent under `id`.
    pub(crate) fn read(message: &[u8], id: u16, question: &Question) -> Result<Answer, Misfit> {
        let mut reader = Reader::new(message, 0);
        let header = Header::read(&mut reader).filter(|header| header.id == id && header.is_response());
        let header = header.ok_or(Misfit::Foreign)?;
        if header.questions == 0 && matches!(header.code(), FORMAT_ERROR | NOT_IMPLEMENTED) {
            // A server that could not read the question cannot repeat it.
            return Ok(Answer::NotUnderstood);
        }
        if header.questions != 1 || !repeats(&mut reader, question) {
            return Err(Misfit::Foreign);
        }
        match header.code() {
            FORMAT_ERROR | NOT_IMPLEMENTED => Ok(Answer::NotUnderstood),
            NO_ERROR | NAME_ERROR if header.is_truncated() => Ok(Answer::Truncated),
            NO_ERROR | NAME_ERROR => Answer::read_sections(&header, reader, question),
            _ => Ok(Answer::Failed),
        }
    }

    fn read_sections(header: &Header, reader: Reader<'_>, question: &Question) -> Result<Answer, Misfit> {
        let [answers, authorities, additionals] = Section::read_all(header, reader).ok_or(Misfit::Malformed)?;
        if additionals.records(TYPE_OPT).any(|record| record.extended_code() != 0) {
            return Ok(Answer::Failed);
        }
        let chain = match Chain::follow(&answers, question) {
            Ok(chain) => chain,
            Err(answer) => return Ok(answer),
        };
        Ok(chain.end(header.code() == NAME_ERROR, &authorities))
    }
}

/// Whether the question section repeats `question`.
fn repeats(reader: &mut Reader<'_>, question: &Question) -> bool {
    let Some(name) = reader.name() else { return false };
    name.is(&question.name.labels())
        && reader.u16() == Some(question.kind.code())
        && reader.u16() == Some(CLASS_INTERNET)
}

/// The aliases of an answer section, which may stand in any order, and that lead to no address.
struct Chain {
    last: Name,
    ttl: u32,
    aliases: usize,
}

impl Chain {
    /// Follows the aliases; `Err` is the answer that needs no further look.
    fn follow(answers: &Section<'_>, question: &Question) -> Result<Chain, Answer> {
        let mut chain = Chain { last: question.name.clone(), ttl: u32::MAX, aliases: 0 };
        loop {
            let (addresses, ttl) = addresses(answers, &chain.last, question.kind);
            if !addresses.is_empty() {
                return Err(Answer::Addresses { addresses, ttl: ttl.min(chain.ttl) });
            }
            let Some((target, ttl)) = alias(answers, &chain.last) else { return Ok(chain) };
            chain = Chain { last: target, ttl: ttl.min(chain.ttl), aliases: chain.aliases + 1 };
            if chain.aliases > ALIASES_MAX {
                return Err(Answer::Loop);
            }
        }
    }

    /// What it means that the last name has no address here (RFC 2308, 2).
    fn end(self, no_name: bool, authorities: &Section<'_>) -> Answer {
        let zone = authorities.records(TYPE_SOA).find(|zone| self.last.is_within(&zone.owner));
        let ttl = zone.and_then(|zone| zone.negative_ttl()).map(|ttl| ttl.min(self.ttl));
        match (no_name, ttl, self.aliases) {
            // The code speaks of the last name of the chain (RFC 6604, 3).
            (true, ..) => Answer::NoName { ttl },
            (false, None, 1..) => Answer::Alias { target: self.last, ttl: self.ttl },
            // A referral: the server tells whom to ask, and that is not a stub's work.
            (false, None, 0) if authorities.records(TYPE_NS).next().is_some() => Answer::Failed,
            (false, ..) => Answer::NoData { ttl },
        }
    }
}

/// The first addresses of `owner`, and the shortest time to live.
fn addresses(answers: &Section<'_>, owner: &Name, kind: Kind) -> (Vec<IpAddr>, u32) {
    let mut shortest = u32::MAX;
    let owner = owner.labels();
    let records = answers.of(&owner, kind.code()).inspect(|record| shortest = shortest.min(record.ttl()));
    let addresses = records.filter_map(|record| address(&record)).take(ADDRESSES_MAX).collect();
    (addresses, shortest)
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    let data = record.data();
    let v4 = || <[u8; 4]>::try_from(data).map(Ipv4Addr::from).map(IpAddr::V4);
    v4().or_else(|_| <[u8; 16]>::try_from(data).map(Ipv6Addr::from).map(IpAddr::V6)).ok()
}

fn alias(answers: &Section<'_>, owner: &Name) -> Option<(Name, u32)> {
    let record = answers.of(&owner.labels(), TYPE_CNAME).next()?;
    Some((record.target()?.to_name()?, record.ttl()))
}
