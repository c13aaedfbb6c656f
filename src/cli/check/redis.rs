//! Will notifications arrive?

use super::super::exit::Exit;
use super::Check;
use crate::config::Config;
use crate::error::chain;
use crate::notify::{ProbeError, RedisFacts, probe};

/// Looks at Redis, when notifications are on.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(probe(&config.redis))) {
        Ok(found) => judge(found).into_iter().collect(),
        Err(error) => vec![Check::fail("redis", Exit::Failed, format!("cannot look at Redis: {error}"), "run the check again")],
    }
}

fn judge(found: Result<Option<RedisFacts>, ProbeError>) -> Option<Check> {
    let facts = match found {
        Ok(facts) => facts?,
        Err(error) => {
            let cure = "correct redis.url or start Redis; without it events still reach Kafka, but nobody is notified";
            return Some(Check::fail("redis", Exit::Unreachable, chain(&error), cure));
        }
    };
    let version = facts.version.map(|version| format!(" (version {version})")).unwrap_or_default();
    let (address, channel) = (facts.address, facts.channel);
    Some(match facts.can_publish {
        Some(true) => Check::ok("redis", format!("{address} answers{version} and takes notifications, such as on {channel}")),
        None => Check::ok("redis", format!("{address} answers{version}; whether it takes notifications on {channel} cannot be asked")),
        Some(false) => {
            let text = format!("{address} answers{version}, but this user may not publish on {channel}");
            Check::fail("redis", Exit::Unreachable, text, "grant the user +publish and the channel's pattern (ACL SETUSER)")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::RedisConfig;

    fn facts(can_publish: Option<bool>) -> RedisFacts {
        RedisFacts { address: "h:6379".into(), version: Some("7.2".into()), channel: "events:example:example".into(), can_publish }
    }

    // Goal: a Redis that would refuse notifications is found before it goes live; none at all is no problem.
    #[test]
    fn verdicts() {
        assert_eq!(judge(Ok(None)), None);
        for (can_publish, expect) in [(Some(true), Verdict::Ok), (None, Verdict::Ok), (Some(false), Verdict::Fail)] {
            assert_eq!(judge(Ok(Some(facts(can_publish)))).unwrap().verdict, expect, "{can_publish:?}");
        }
    }

    // Goal: a Redis that is not there is named with its address, and without its password.
    #[test]
    fn nobody_there() {
        let redis = RedisConfig { url: Some("redis://u:hunter2@127.0.0.1:1".into()), ..RedisConfig::default() };
        let found = checks(&Config { redis, ..Config::default() });
        assert_eq!((found.len(), found[0].verdict, found[0].exit_on_fail), (1, Verdict::Fail, Exit::Unreachable));
        assert!(found[0].text.contains("127.0.0.1:1") && !found[0].text.contains("hunter2"), "{}", found[0].text);
    }
}
