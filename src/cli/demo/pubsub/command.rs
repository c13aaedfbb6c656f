//! What each command does and answers.

use super::broker::{Broker, ClientId, Kind, TooMany};
use super::outbox::Outbox;
use super::resp::{put_array, put_bulk, put_error, put_integer, put_ok};
use std::collections::HashMap;
use std::sync::Arc;

/// Longest channel or pattern, in bytes.
const MAX_NAME: usize = 4096;

/// The answer to `INFO`. The version is the last that did not know HELLO.
const INFO: &[u8] = b"# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\nserver_name:dualstream-demo\r\n";

/// What all connections share.
#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) broker: Broker,
    pub(super) outboxes: HashMap<ClientId, Arc<Outbox>>,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    Command,
    /// It is over once the reply is sent.
    Close,
}

impl Hub {
    /// Carries out one command of a client and puts the answer into its outbox.
    pub(super) fn execute(&mut self, client: ClientId, args: &[&[u8]]) -> Next {
        let Some((name, args)) = args.split_first() else { return Next::Command };
        let Some(outbox) = self.outboxes.get(&client).map(Arc::clone) else { return Next::Close };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        let subscribed = self.broker.count(client) > 0;
        match (name.as_str(), args) {
            ("SUBSCRIBE", [_, ..]) => self.subscribe(client, Kind::Channel, args, &outbox),
            ("PSUBSCRIBE", [_, ..]) => self.subscribe(client, Kind::Pattern, args, &outbox),
            ("UNSUBSCRIBE", _) => self.unsubscribe(client, Kind::Channel, args, &outbox),
            ("PUNSUBSCRIBE", _) => self.unsubscribe(client, Kind::Pattern, args, &outbox),
            ("QUIT", _) => {
                outbox.append(put_ok);
                return Next::Close;
            }
            ("RESET", _) => {
                self.broker.remove(client);
                outbox.append(|out| out.extend_from_slice(b"+RESET\r\n"));
            }
            ("PING", [] | [_]) if subscribed => outbox.append(|out| {
                put_array(out, 2);
                put_bulk(out, Some(b"pong"));
                put_bulk(out, Some(args.first().copied().unwrap_or_default()));
            }),
            _ if subscribed => outbox.append(|out| {
                let allowed = "only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
                put_error(out, &format!("ERR Can't execute '{}': {allowed}", shown(&name).to_lowercase()));
            }),
            ("PUBLISH" | "SPUBLISH", [channel, message]) => {
                let receivers = self.publish(channel, message);
                outbox.append(|out| put_integer(out, receivers));
            }
            _ => outbox.append(|out| answer(&name, args, client, out)),
        }
        Next::Command
    }

    fn subscribe(&mut self, client: ClientId, kind: Kind, names: &[&[u8]], outbox: &Outbox) {
        for name in names {
            let outcome = if name.len() > MAX_NAME { Err(TooMany) } else { self.broker.subscribe(client, kind, name) };
            outbox.append(|out| match outcome {
                Ok(count) => put_confirmation(out, kind, "subscribe", Some(name), count),
                Err(TooMany) => put_error(out, "ERR too many subscriptions, or too long a name"),
            });
        }
    }

    /// Without names: all of the kind.
    fn unsubscribe(&mut self, client: ClientId, kind: Kind, names: &[&[u8]], outbox: &Outbox) {
        let own = self.broker.names(client, kind);
        let names: Vec<&[u8]> = if names.is_empty() { own.iter().map(Vec::as_slice).collect() } else { names.to_vec() };
        if names.is_empty() {
            outbox.append(|out| put_confirmation(out, kind, "unsubscribe", None, self.broker.count(client)));
        }
        for name in names {
            let left = self.broker.unsubscribe(client, kind, name);
            outbox.append(|out| put_confirmation(out, kind, "unsubscribe", Some(name), left));
        }
    }

    /// Puts a message into the outbox of everyone it is for, and returns how many there were.
    fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut count = 0;
        for (receiver, pattern) in self.broker.receivers(channel) {
            let Some(outbox) = self.outboxes.get(&receiver) else { continue };
            outbox.append(|out| {
                put_array(out, if pattern.is_some() { 4 } else { 3 });
                put_bulk(out, Some(if pattern.is_some() { b"pmessage" } else { b"message" }));
                if pattern.is_some() {
                    put_bulk(out, pattern);
                }
                put_bulk(out, Some(channel));
                put_bulk(out, Some(message));
            });
            count += 1;
        }
        count
    }
}

fn put_confirmation(out: &mut Vec<u8>, kind: Kind, verb: &str, name: Option<&[u8]>, count: usize) {
    let prefix = if kind == Kind::Pattern { "p" } else { "" };
    put_array(out, 3);
    put_bulk(out, Some(format!("{prefix}{verb}").as_bytes()));
    put_bulk(out, name);
    put_integer(out, count);
}

/// The commands that touch no subscription.
fn answer(name: &str, args: &[&[u8]], client: ClientId, out: &mut Vec<u8>) {
    match (name, args) {
        ("PING", []) => out.extend_from_slice(b"+PONG\r\n"),
        ("PING" | "ECHO", [text]) => put_bulk(out, Some(text)),
        ("CLIENT", [sub, ..]) if sub.eq_ignore_ascii_case(b"ID") => put_integer(out, usize::try_from(client).unwrap_or(usize::MAX)),
        ("CLIENT", [sub, ..]) if sub.eq_ignore_ascii_case(b"GETNAME") => put_bulk(out, None),
        ("AUTH", [_] | [_, _]) | ("SELECT", [_]) | ("CLIENT", [_, ..]) => put_ok(out),
        ("INFO", _) => put_bulk(out, Some(INFO)),
        ("COMMAND", _) => put_array(out, 0),
        ("PING" | "ECHO" | "AUTH" | "SELECT" | "CLIENT" | "PUBLISH" | "SPUBLISH" | "SUBSCRIBE" | "PSUBSCRIBE", _) => {
            put_error(out, &format!("ERR wrong number of arguments for '{}' command", name.to_lowercase()));
        }
        // In Redis' words and quotes: clients look for them to find that HELLO is not known.
        _ => put_error(out, &format!("ERR unknown command `{}`: this is dualstream's demo of Pub/Sub, not Redis", shown(name))),
    }
}

/// At most the first characters of a name, for an error.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}
