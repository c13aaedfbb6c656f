//! Who has subscribed to what; pure. Generic over what a subscriber is, so that it needs no sockets to be tested.

use super::glob;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Names a connection; never reused.
pub(super) type ClientId = u64;

/// Most channels and patterns of one client.
pub(super) const MAX_SUBSCRIPTIONS: usize = 10_000;

/// The two kinds of subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A channel by its name.
    Channel,
    /// All channels that match.
    Pattern,
}

/// The subscription table.
#[derive(Debug, Default)]
pub(super) struct Broker {
    channels: HashMap<Vec<u8>, BTreeSet<ClientId>>,
    patterns: BTreeMap<Vec<u8>, BTreeSet<ClientId>>,
    clients: HashMap<ClientId, Subscriptions>,
}

#[derive(Debug, Default)]
struct Subscriptions {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
}

impl Subscriptions {
    fn of(&mut self, kind: Kind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}

/// A client has [`MAX_SUBSCRIPTIONS`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Broker {
    /// Subscribes; subscribing again changes nothing. Returns how many subscriptions the client then has.
    pub(super) fn subscribe(&mut self, client: ClientId, kind: Kind, name: &[u8]) -> Result<usize, TooMany> {
        if self.count(client) >= MAX_SUBSCRIPTIONS {
            return Err(TooMany);
        }
        if self.clients.entry(client).or_default().of(kind).insert(name.to_vec()) {
            let subscribers = match kind {
                Kind::Channel => self.channels.entry(name.to_vec()).or_default(),
                Kind::Pattern => self.patterns.entry(name.to_vec()).or_default(),
            };
            subscribers.insert(client);
        }
        Ok(self.count(client))
    }

    /// Takes a subscription back. Returns how many the client has left.
    pub(super) fn unsubscribe(&mut self, client: ClientId, kind: Kind, name: &[u8]) -> usize {
        let Some(own) = self.clients.get_mut(&client) else { return 0 };
        if own.of(kind).remove(name) {
            self.forget(client, kind, name);
        }
        let left = self.count(client);
        if left == 0 {
            self.clients.remove(&client);
        }
        left
    }

    /// The names of a client's subscriptions.
    pub(super) fn names(&self, client: ClientId, kind: Kind) -> Vec<Vec<u8>> {
        let Some(own) = self.clients.get(&client) else { return Vec::new() };
        let names = match kind {
            Kind::Channel => &own.channels,
            Kind::Pattern => &own.patterns,
        };
        names.iter().cloned().collect()
    }

    /// How many subscriptions a client has.
    pub(super) fn count(&self, client: ClientId) -> usize {
        self.clients.get(&client).map_or(0, |own| own.channels.len() + own.patterns.len())
    }

    /// Forgets a client that is gone.
    pub(super) fn remove(&mut self, client: ClientId) {
        let Some(own) = self.clients.remove(&client) else { return };
        own.channels.iter().for_each(|name| self.forget(client, Kind::Channel, name));
        own.patterns.iter().for_each(|name| self.forget(client, Kind::Pattern, name));
    }

    /// Who gets what is published to a channel: each with the pattern that matched, `None` for the channel itself. A client that
    /// subscribed in several ways gets it several times, as from Redis.
    pub(super) fn receivers<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = (ClientId, Option<&'a [u8]>)> {
        let direct = self.channels.get(channel).into_iter().flatten().map(|client| (*client, None));
        let matching = self.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        direct.chain(matching.flat_map(|(pattern, clients)| clients.iter().map(|client| (*client, Some(pattern.as_slice())))))
    }

    /// Removes a client from a name's subscribers, and the name with the last of them.
    fn forget(&mut self, client: ClientId, kind: Kind, name: &[u8]) {
        let subscribers = match kind {
            Kind::Channel => self.channels.get_mut(name),
            Kind::Pattern => self.patterns.get_mut(name),
        };
        let Some(subscribers) = subscribers else { return };
        subscribers.remove(&client);
        if subscribers.is_empty() {
            match kind {
                Kind::Channel => self.channels.remove(name),
                Kind::Pattern => self.patterns.remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(broker: &Broker, channel: &str) -> Vec<(ClientId, Option<String>)> {
        let text = |pattern: &[u8]| String::from_utf8_lossy(pattern).into_owned();
        broker.receivers(channel.as_bytes()).map(|(client, pattern)| (client, pattern.map(text))).collect()
    }

    // Goal: channels and patterns get what is theirs, once for each way of subscribing.
    #[test]
    fn delivers_by_channel_and_pattern() {
        let mut broker = Broker::default();
        assert_eq!(broker.subscribe(1, Kind::Channel, b"events:user:1"), Ok(1));
        assert_eq!(broker.subscribe(1, Kind::Channel, b"events:user:1"), Ok(1), "again is the same");
        assert_eq!(broker.subscribe(1, Kind::Pattern, b"events:*"), Ok(2));
        assert_eq!(broker.subscribe(2, Kind::Pattern, b"events:*"), Ok(1));
        let pattern = || Some("events:*".to_owned());
        assert_eq!(receivers(&broker, "events:user:1"), [(1, None), (1, pattern()), (2, pattern())]);
        assert_eq!(receivers(&broker, "events:repo:1"), [(1, pattern()), (2, pattern())]);
        assert_eq!(receivers(&broker, "other"), []);
    }

    // Goal: unsubscribing and going away leave nothing behind.
    #[test]
    fn leaves_nothing_behind() {
        let mut broker = Broker::default();
        for client in 1..=2 {
            for (kind, name) in [(Kind::Channel, b"a"), (Kind::Pattern, b"b"), (Kind::Channel, b"b")] {
                assert!(broker.subscribe(client, kind, name).is_ok());
            }
        }
        assert_eq!(broker.names(1, Kind::Channel), [b"a", b"b"]);
        assert_eq!(broker.unsubscribe(1, Kind::Channel, b"a"), 2);
        assert_eq!(broker.unsubscribe(1, Kind::Channel, b"a"), 2, "again is the same");
        assert_eq!(broker.unsubscribe(1, Kind::Pattern, b"b"), 1);
        assert_eq!(broker.unsubscribe(1, Kind::Channel, b"b"), 0);
        assert_eq!(broker.unsubscribe(9, Kind::Channel, b"b"), 0);
        broker.remove(2);
        assert!(broker.channels.is_empty() && broker.patterns.is_empty() && broker.clients.is_empty(), "{broker:?}");
    }

    // Goal: one client cannot fill the memory with names.
    #[test]
    fn subscriptions_are_bounded() {
        let mut broker = Broker::default();
        for n in 0..MAX_SUBSCRIPTIONS {
            assert!(broker.subscribe(1, Kind::Channel, n.to_string().as_bytes()).is_ok());
        }
        assert_eq!(broker.subscribe(1, Kind::Pattern, b"one more"), Err(TooMany));
    }
}
