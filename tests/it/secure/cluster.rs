//! A real Kafka whose listeners want TLS, certificates, passwords or tokens.

use std::{path::PathBuf, sync::OnceLock};

use tempfile::TempDir;

use super::certificates::{Authority, Life};
use crate::support::{kafka::Kafka, ports, scratch};

/// The user that the cluster knows.
pub const USER: &str = "relay";
pub const PASSWORD: &str = "correct horse battery";

/// The cluster, where its listeners are, and who signs.
pub struct Secured {
    pub kafka: Kafka,
    /// SASL over TLS: SCRAM-SHA-512, PLAIN, OAUTHBEARER.
    pub sasl: String,
    /// TLS that asks for the client's certificate.
    pub mutual: String,
    /// TLS with a certificate for another host.
    pub elsewhere: String,
    /// TLS with a certificate that has expired.
    pub stale: String,
    pub authority: Authority,
    _files: TempDir,
}

impl Secured {
    /// The one that all tests share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Secured> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let files = scratch::dir("certificates");
        let authority = Authority::new("authority of the brokers");
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("ca.crt"), authority.pem()).unwrap();
        for (name, host, life) in
            [("right", "127.0.0.1", Life::Good), ("elsewhere", "kafka.elsewhere.example", Life::Good), ("stale", "127.0.0.1", Life::Over)]
        {
            authority.sign(host, life).write_store(&path(name));
        }
        let [sasl, mutual, elsewhere, stale] = [0; 4].map(|_| ports::address(ports::free()));
        let settings = settings(&[("SASL", &sasl), ("MUTUAL", &mutual), ("ELSEWHERE", &elsewhere), ("STALE", &stale)], &path);
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let kafka = Kafka::start_with(1, &settings);
        let password = format!("SCRAM-SHA-512=[password={PASSWORD}]");
        let user = ["--alter", "--add-config", &password, "--entity-type", "users", "--entity-name", USER];
        kafka.run_tool("kafka.admin.ConfigCommand", &user);
        Self { kafka, sasl, mutual, elsewhere, stale, authority, _files: files }
    }
}

fn settings(listeners: &[(&str, &String)], path: &dyn Fn(&str) -> PathBuf) -> Vec<(String, String)> {
    let more: Vec<_> = listeners.iter().map(|(name, address)| format!("{name}://{address}")).collect();
    let more = more.join(",");
    let file = |name: &str| path(name).display().to_string();
    let mut settings = vec![
        ("listeners".to_owned(), format!("PLAINTEXT://{{client}},CONTROLLER://{{controller}},{more}")),
        ("advertised.listeners".to_owned(), format!("PLAINTEXT://{{client}},{more}")),
        (
            "listener.security.protocol.map".to_owned(),
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,ELSEWHERE:SSL,STALE:SSL".to_owned(),
        ),
        ("ssl.keystore.type".to_owned(), "PEM".to_owned()),
        ("ssl.truststore.type".to_owned(), "PEM".to_owned()),
        ("ssl.truststore.location".to_owned(), file("ca.crt")),
        ("listener.name.mutual.ssl.client.auth".to_owned(), "required".to_owned()),
        ("listener.name.sasl.sasl.enabled.mechanisms".to_owned(), "SCRAM-SHA-512,PLAIN,OAUTHBEARER".to_owned()),
    ];
    for (listener, store) in [("sasl", "right"), ("mutual", "right"), ("elsewhere", "elsewhere"), ("stale", "stale")] {
        settings.push((format!("listener.name.{listener}.ssl.keystore.location"), file(store)));
    }
    let security = "org.apache.kafka.common.security";
    for (mechanism, login) in [
        ("scram-sha-512", format!("{security}.scram.ScramLoginModule required;")),
        ("plain", format!("{security}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";")),
        // Takes tokens that nobody signed: fine for a test.
        ("oauthbearer", format!("{security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";")),
    ] {
        settings.push((format!("listener.name.sasl.{mechanism}.sasl.jaas.config"), login));
    }
    settings
}
