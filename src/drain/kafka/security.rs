//! TLS and SASL: librdkafka's properties for the keys of `[kafka]`, and the files that they name.
//!
//! Certificates are read by librdkafka itself, secrets by us, both whenever a handle is made: nothing of them is kept in the settings.
//! [`FileWatch`] tells when one has changed since, so that the drain makes a new handle. A file that cannot be used is no reason not
//! to start: events wait in the buffer until somebody corrects it.

use super::super::classify::Class;
use super::token::TokenFile;
use crate::config::{KafkaConfig, SaslMechanism, file_fingerprint, read_secret_file};
use crate::error::Disposition;
use rdkafka::ClientConfig;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A file with a secret or a certificate cannot be used.
pub(super) const UNUSABLE: Class = Class {
    disposition: Disposition::Block,
    reason: "authentication",
    meaning: "the connection to Kafka cannot be set up; correct the file that is named, no restart is needed",
};

/// A file has changed: nothing is wrong, the handle is made anew.
pub(super) const ROTATED: Class =
    Class { disposition: Disposition::Retry, reason: "rotated", meaning: "a file of certificates or secrets has changed; connecting anew" };

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such file, no right to read it, no text.
    #[error("{key} is {}, which cannot be read", .path.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{key} is {}, which is empty", .path.display())]
    Empty {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// What the settings say about TLS and SASL.
#[derive(Clone, Debug)]
pub(super) struct Security {
    /// Properties that are the same for every handle.
    properties: Vec<(&'static str, String)>,
    /// Properties whose values are in files: the property, the setting that names the file, the file.
    secrets: Vec<(&'static str, &'static str, PathBuf)>,
    /// Files that librdkafka reads by itself.
    certificates: Vec<(&'static str, PathBuf)>,
    token: Option<TokenFile>,
}

impl Security {
    /// Reads the settings, no file.
    pub(super) fn of(config: &KafkaConfig) -> Self {
        let mut security = Self {
            properties: Vec::new(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            token: config.sasl_token_file.as_deref().map(TokenFile::new),
        };
        if config.tls || config.sasl_mechanism.is_some() {
            let protocol = match (config.tls, config.sasl_mechanism) {
                (true, None) => "SSL",
                (true, Some(_)) => "SASL_SSL",
                (false, _) => "SASL_PLAINTEXT",
            };
            security.properties.push(("security.protocol", protocol.to_owned()));
        }
        security.tls(config);
        security.sasl(config);
        security
    }

    fn tls(&mut self, config: &KafkaConfig) {
        let files = [
            ("ssl.ca.location", "kafka.tls_ca_file", &config.tls_ca_file),
            ("ssl.certificate.location", "kafka.tls_certificate_file", &config.tls_certificate_file),
            ("ssl.key.location", "kafka.tls_key_file", &config.tls_key_file),
        ];
        for (property, key, path) in files {
            if let Some(path) = path {
                self.properties.push((property, path.display().to_string()));
                self.certificates.push((key, path.clone()));
            }
        }
        // The authorities of the system, wherever it keeps them: an OpenSSL that was built with us does not know.
        let chosen = ["ssl.ca.location", "ssl.ca.pem"].iter().any(|name| config.properties.contains_key(*name));
        if config.tls && config.tls_ca_file.is_none() && !chosen {
            self.properties.push(("ssl.ca.location", "probe".to_owned()));
        }
        if let Some(path) = &config.tls_key_password_file {
            self.secrets.push(("ssl.key.password", "kafka.tls_key_password_file", path.clone()));
        }
    }

    fn sasl(&mut self, config: &KafkaConfig) {
        if let Some(mechanism) = config.sasl_mechanism {
            self.properties.push(("sasl.mechanisms", mechanism.name().to_owned()));
        }
        if let Some(name) = &config.sasl_username {
            self.properties.push(("sasl.username", name.clone()));
        }
        let files = [
            ("sasl.username", "kafka.sasl_username_file", &config.sasl_username_file),
            ("sasl.password", "kafka.sasl_password_file", &config.sasl_password_file),
        ];
        for (property, key, path) in files {
            if let Some(path) = path {
                self.secrets.push((property, key, path.clone()));
            }
        }
    }

    /// What is the same for every handle.
    pub(super) fn properties(&self) -> &[(&'static str, String)] {
        &self.properties
    }

    /// The settings of one handle: with the secrets that are in the files now.
    ///
    /// # Errors
    /// [`SecretError`] for a file that cannot be used.
    pub(super) fn with_secrets(&self, client: &ClientConfig) -> Result<ClientConfig, SecretError> {
        let mut client = client.clone();
        for (property, key, path) in &self.secrets {
            let _ = client.set(*property, secret(key, path)?);
        }
        // librdkafka would say of an unreadable file only which property failed.
        for (key, path) in &self.certificates {
            let readable = file_fingerprint(path).is_some();
            if !readable {
                let source = read_secret_file(path).err().unwrap_or_else(|| std::io::Error::other("it cannot be read"));
                return Err(SecretError::Unreadable { key, path: path.clone(), source });
            }
        }
        Ok(client)
    }

    /// Where the token comes from, for OAUTHBEARER.
    pub(super) fn token(&self) -> Option<TokenFile> {
        self.token.clone()
    }

    /// Whether handles depend on files: then an error in making one may be theirs.
    pub(super) fn has_files(&self) -> bool {
        !self.secrets.is_empty() || !self.certificates.is_empty()
    }

    /// Whether the relay's own key has a password, as far as its file says so.
    pub(super) fn key_is_locked(&self) -> bool {
        let key = self.certificates.iter().find(|(key, _)| *key == "kafka.tls_key_file");
        key.is_some_and(|(_, path)| read_secret_file(path).is_ok_and(|pem| pem.contains("ENCRYPTED")))
    }

    /// The files as they are now. The token's is not among them: librdkafka asks for it by itself.
    pub(super) fn watch(&self, now: Instant) -> Option<FileWatch> {
        let paths = self.secrets.iter().map(|(_, key, path)| (*key, path)).chain(self.certificates.iter().map(|(key, path)| (*key, path)));
        let files: Vec<_> = paths.map(|(key, path)| (key, path.clone(), file_fingerprint(path))).collect();
        (!files.is_empty()).then_some(FileWatch { files, next_look: now + LOOK_EVERY, changed: None })
    }
}

/// A secret without the line end that editors leave.
fn secret(key: &'static str, path: &Path) -> Result<String, SecretError> {
    let text = read_secret_file(path).map_err(|source| SecretError::Unreadable { key, path: path.to_owned(), source })?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err(SecretError::Empty { key, path: path.to_owned() }) } else { Ok(text.to_owned()) }
}

/// Compares the files with what they were when the handle was made.
#[derive(Debug)]
pub(super) struct FileWatch {
    files: Vec<(&'static str, PathBuf, Option<u64>)>,
    next_look: Instant,
    /// The setting whose file has changed, and the file.
    changed: Option<(&'static str, PathBuf)>,
}

impl FileWatch {
    /// The setting and file that have changed since. A file that is gone for a moment, as while it is replaced, has not changed.
    pub(super) fn changed(&mut self, now: Instant) -> Option<(&'static str, &Path)> {
        if self.changed.is_none() && now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            let differs = |(_, path, before): &&(&'static str, PathBuf, Option<u64>)| {
                file_fingerprint(path).is_some_and(|print| Some(print) != *before)
            };
            self.changed = self.files.iter().find(differs).map(|(key, path, _)| (*key, path.clone()));
        }
        self.changed.as_ref().map(|(key, path)| (*key, path.as_path()))
    }
}

/// What a property or value needs that only a build with TLS has; `None` when this build can do it.
pub(super) fn needs_tls_build(property: &str, value: &str) -> bool {
    if cfg!(feature = "kafka-tls") {
        return false;
    }
    let value = value.to_ascii_uppercase();
    match property {
        "security.protocol" => value.ends_with("SSL"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("SCRAM") || value.starts_with("OAUTH"),
        _ => property.starts_with("ssl.") || property == "enable.ssl.certificate.verification",
    }
}

/// The key of `[kafka]` that this build cannot serve, with its value.
pub(super) fn unserved_key(config: &KafkaConfig) -> Option<String> {
    if cfg!(feature = "kafka-tls") {
        return None;
    }
    let mechanism = config.sasl_mechanism.filter(|mechanism| *mechanism != SaslMechanism::Plain);
    if config.tls { Some("kafka.tls = true".to_owned()) } else { mechanism.map(|it| format!("kafka.sasl_mechanism = {:?}", it.name())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn config(dir: &Path) -> KafkaConfig {
        KafkaConfig {
            tls: true,
            tls_ca_file: Some(dir.join("ca.crt")),
            sasl_mechanism: Some(SaslMechanism::ScramSha512),
            sasl_username: Some("relay".into()),
            sasl_password_file: Some(dir.join("password")),
            ..KafkaConfig::default()
        }
    }

    // Goal: the password that counts is the one in the file when the connection is made, without the editor's line end, and it is
    // printed nowhere.
    #[test]
    fn secrets_are_read_for_every_handle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), "x").unwrap();
        let security = Security::of(&config(dir.path()));
        let mut base = ClientConfig::new();
        for (property, value) in security.properties() {
            let _ = base.set(*property, value);
        }
        assert_eq!(base.get("security.protocol"), Some("SASL_SSL"));
        let problem = security.with_secrets(&base).unwrap_err().to_string();
        assert!(problem.starts_with("kafka.sasl_password_file is ") && problem.ends_with("cannot be read"), "{problem}");
        for (text, wanted) in [("first", "first"), ("second\n", "second"), (" third \r\n", " third ")] {
            fs::write(dir.path().join("password"), text).unwrap();
            let client = security.with_secrets(&base).unwrap();
            assert_eq!(client.get("sasl.password"), Some(wanted));
            assert!(!format!("{client:?} {security:?}").contains(wanted), "{client:?}");
        }
        fs::write(dir.path().join("password"), "\n").unwrap();
        assert!(security.with_secrets(&base).unwrap_err().to_string().ends_with("which is empty"));
    }

    // Goal: a rotated file is noticed within seconds, one that is only rewritten with the same content is not, and neither is the
    // moment in which it is being replaced.
    #[test]
    fn changed_files_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, password) = (dir.path().join("ca.crt"), dir.path().join("password"));
        fs::write(&ca, "x").unwrap();
        fs::write(&password, "first").unwrap();
        let start = Instant::now();
        let mut watch = Security::of(&config(dir.path())).watch(start).unwrap();
        fs::write(&password, "first").unwrap();
        assert_eq!(watch.changed(start + LOOK_EVERY), None);
        fs::remove_file(&ca).unwrap();
        assert_eq!(watch.changed(start + 2 * LOOK_EVERY), None);
        fs::write(&password, "second").unwrap();
        assert_eq!(watch.changed(start + 2 * LOOK_EVERY), None, "it looks only now and then");
        assert_eq!(watch.changed(start + 3 * LOOK_EVERY), Some(("kafka.sasl_password_file", password.as_path())));
        fs::write(&password, "first").unwrap();
        assert!(watch.changed(start + 4 * LOOK_EVERY).is_some(), "it stays said until the handle is made anew");
        assert!(Security::of(&KafkaConfig::default()).watch(start).is_none());
    }
}
