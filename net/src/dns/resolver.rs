//! Lookups: every family at once, under every domain, each question asked once however many wait for it.

use super::{
    answer::Answer,
    cache::{Cache, Known},
    error::LookupError,
    exchange::{Silence, ask},
    limits::{LOOKUP_TIME_MAX, QUESTION_TIME_MAX, QUESTIONS_MAX, RESOLUTION_DELAY, RESTARTS_MAX, ROUND_TIMES},
    message::{Kind, Question},
    name::Name,
    network::Network,
    settings::{Local, Settings, literal, special},
};
use crate::race;
use alloc::{rc::Rc, vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    pin::pin,
};
use unikernel_rt::{
    future::{Either, select},
    sync::{Notify, Semaphore},
    task::waiting_for,
    time::{Instant, timeout},
};

/// The families of addresses that are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    fn includes(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Looks up names. Clones share the cache.
#[derive(Clone)]
pub(crate) struct Resolver<N>(Rc<Shared<N>>);

struct Shared<N> {
    network: N,
    settings: RefCell<Rc<Settings>>,
    cache: RefCell<Cache>,
    /// The questions that are being asked.
    open: RefCell<Vec<(Question, Rc<Pending>)>>,
    turns: Semaphore,
    /// The server that answered last goes first.
    preferred: Cell<Option<SocketAddr>>,
}

/// A question's result, once it is there.
#[derive(Default)]
struct Pending {
    result: RefCell<Option<Result<Known, LookupError>>>,
    done: Notify,
}

impl<N: Network> Resolver<N> {
    /// Knows no server until [`configure`](Self::configure) is called.
    pub(crate) fn new(network: N) -> Resolver<N> {
        Resolver(Rc::new(Shared {
            network,
            settings: RefCell::default(),
            cache: RefCell::default(),
            open: RefCell::default(),
            turns: Semaphore::new(QUESTIONS_MAX),
            preferred: Cell::new(None),
        }))
    }

    /// Asks other servers from now on. What the old ones said is forgotten: another network may call other machines by
    /// the same names.
    pub(crate) fn configure(&self, settings: Settings) {
        if **self.0.settings.borrow() != settings {
            *self.0.settings.borrow_mut() = Rc::new(settings);
            self.0.cache.borrow_mut().clear();
        }
    }

    /// The addresses of `host`, a name or an address as text, in the order to try them (see [`race::order`]); at least
    /// one. Dropped, it leaves the questions to end by themselves, and their answers to the next lookup.
    ///
    /// # Errors
    ///
    /// See [`LookupError`].
    pub(crate) async fn lookup(&self, host: &str, families: Families) -> Result<Vec<IpAddr>, LookupError> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let name = Name::parse(host).ok_or(LookupError::NotAName)?;
        if !families.v4 && !families.v6 {
            return Err(LookupError::NotConfigured);
        }
        match special(&name) {
            Some(Local::NoName) => return Err(LookupError::NoSuchName),
            Some(Local::Addresses(both)) => return some(both.into_iter().flatten(), families),
            None => {}
        }
        let settings = self.0.settings.borrow().clone();
        if settings.servers().is_empty() {
            return Err(LookupError::NoServer);
        }
        let search = self.search(settings.candidates(host, name), families);
        timeout(LOOKUP_TIME_MAX, search).await.unwrap_or(Err(LookupError::NoAnswer))
    }

    /// The first of `names` that has addresses. A failure ends the search: the next name could be another machine's.
    async fn search(&self, names: Vec<Name>, families: Families) -> Result<Vec<IpAddr>, LookupError> {
        let mut exists = false;
        for name in names {
            match combine(self.both(name, families).await) {
                Err(LookupError::NoSuchName) => {}
                Err(LookupError::NoAddress) => exists = true,
                found => return found.and_then(|addresses| some(addresses.into_iter(), families)),
            }
        }
        Err(if exists { LookupError::NoAddress } else { LookupError::NoSuchName })
    }

    /// Asks for the addresses of all `families` at once.
    async fn both(&self, name: Name, families: Families) -> [Option<Result<Known, LookupError>>; 2] {
        let question = |kind| Question { name: name.clone(), kind };
        let v4 = async { if families.v4 { Some(self.ask(question(Kind::A)).await) } else { None } };
        let v6 = async { if families.v6 { Some(self.ask(question(Kind::Aaaa)).await) } else { None } };
        match select(pin!(v6), pin!(v4)).await {
            Either::Left((v6, v4)) => [v6, v4.await],
            // RFC 8305, 3: usable addresses do not wait long for better ones.
            Either::Right((v4 @ Some(Ok(Known::Addresses(_))), v6)) => {
                [timeout(RESOLUTION_DELAY, v6).await.unwrap_or(None), v4]
            }
            Either::Right((v4, v6)) => [v6.await, v4],
        }
    }

    /// Asks, unless it is known or being asked already.
    async fn ask(&self, question: Question) -> Result<Known, LookupError> {
        if let Some(known) = self.0.cache.borrow().get(&question, Instant::now()) {
            return Ok(known.clone());
        }
        let pending = self.pending(question);
        loop {
            if let Some(result) = &*pending.result.borrow() {
                return result.clone();
            }
            waiting_for("an answer about a name", pending.done.notified()).await;
        }
    }

    /// The question under way; a task of its own asks it, so that it ends whoever waits.
    fn pending(&self, question: Question) -> Rc<Pending> {
        let mut open = self.0.open.borrow_mut();
        if let Some((_, pending)) = open.iter().find(|(asked, _)| *asked == question) {
            return pending.clone();
        }
        let pending: Rc<Pending> = Rc::default();
        open.push((question.clone(), pending.clone()));
        let (resolver, answered) = (self.clone(), pending.clone());
        unikernel_rt::spawn_named("name lookup", async move {
            let answer = resolver.0.resolve(&question);
            let result = timeout(QUESTION_TIME_MAX, answer).await.unwrap_or(Err(LookupError::NoAnswer));
            resolver.0.open.borrow_mut().retain(|(asked, _)| *asked != question);
            answered.result.replace(Some(result));
            answered.done.notify_all();
        });
        pending
    }
}

impl<N: Network> Shared<N> {
    /// Asks the servers, for the targets of aliases too, and remembers the answer.
    async fn resolve(&self, question: &Question) -> Result<Known, LookupError> {
        let _turn = self.turns.acquire().await;
        let settings = self.settings.borrow().clone();
        let (mut asked, mut shortest): (Vec<Question>, u32) = (vec![question.clone()], u32::MAX);
        loop {
            let latest = asked.last().expect("the question itself is there");
            let (known, ttl) = match self.ask_servers(settings.servers(), latest).await? {
                Answer::Addresses { addresses, ttl } => (Known::Addresses(addresses), Some(ttl)),
                Answer::NoName { ttl } => (Known::NoName, ttl),
                Answer::NoData { ttl } => (Known::NoData, ttl),
                Answer::Alias { target, ttl } => {
                    let next = Question { name: target, kind: question.kind };
                    if asked.contains(&next) || asked.len() == RESTARTS_MAX {
                        return Err(LookupError::AliasLoop);
                    }
                    shortest = shortest.min(ttl);
                    asked.push(next);
                    continue;
                }
                _ => return Err(LookupError::AliasLoop),
            };
            // Servers that are no longer asked have no say in what is remembered.
            if Rc::ptr_eq(&settings, &self.settings.borrow()) {
                let ttl = ttl.map(|ttl| ttl.min(shortest));
                self.cache.borrow_mut().put(question.clone(), known.clone(), ttl, Instant::now());
            }
            return Ok(known);
        }
    }

    /// Asks one server after the other, round after round; those that refuse are not asked again.
    async fn ask_servers(&self, servers: &[SocketAddr], question: &Question) -> Result<Answer, LookupError> {
        let mut left = servers.to_vec();
        if let Some(place) = left.iter().position(|server| self.preferred.get() == Some(*server)) {
            left[..=place].rotate_right(1);
        }
        let mut failure = LookupError::NoAnswer;
        for patience in ROUND_TIMES {
            for server in left.clone() {
                match ask(&self.network, server, question, patience).await {
                    Ok(answer) => {
                        self.preferred.set(Some(server));
                        return Ok(answer);
                    }
                    Err(Silence::NoAnswer) => continue,
                    Err(Silence::Refused) => failure = LookupError::Refused,
                    Err(Silence::Malformed) => failure = LookupError::BadAnswer,
                }
                left.retain(|other| *other != server);
            }
        }
        Err(failure)
    }
}

/// Addresses of any family beat everything; then a failure does, for what it hides may be an address.
fn combine(results: [Option<Result<Known, LookupError>>; 2]) -> Result<Vec<IpAddr>, LookupError> {
    let (mut addresses, mut worst) = (Vec::new(), LookupError::NoSuchName);
    for result in results.into_iter().flatten() {
        match result {
            Ok(Known::Addresses(found)) => addresses.extend(found),
            Ok(Known::NoName) => {}
            Ok(Known::NoData) if worst == LookupError::NoSuchName => worst = LookupError::NoAddress,
            Ok(Known::NoData) => {}
            Err(failure) => worst = failure,
        }
    }
    if addresses.is_empty() { Err(worst) } else { Ok(addresses) }
}

/// Those of `families`, in the order to try them.
fn some(addresses: impl Iterator<Item = IpAddr>, families: Families) -> Result<Vec<IpAddr>, LookupError> {
    let addresses: Vec<_> = addresses.filter(|address| families.includes(address)).collect();
    if addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(race::order(addresses)) }
}
