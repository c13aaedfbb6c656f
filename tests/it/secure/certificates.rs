//! Certificates for a test: an authority, and what it signs.

use std::{fs, path::Path, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use crate::support::scratch;

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

/// Until when a certificate is good.
#[derive(Clone, Copy)]
pub enum Life {
    Good,
    Over,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A certificate for a host, by name or address.
    pub fn sign(&self, host: &str, life: Life) -> Signed {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let last_year = match life {
            Life::Good => 4096,
            Life::Over => 2021,
        };
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }
}

impl Signed {
    /// Its key, locked with a password.
    pub fn locked_key(&self, password: &str) -> String {
        let dir = scratch::dir("key");
        let plain = dir.path().join("plain");
        fs::write(&plain, &self.key).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &format!("pass:{password}"), "-in"]).arg(plain);
        let ended = openssl.output().expect("openssl is there: run `make deps` first");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Key and certificate in one file, as Kafka's PEM key store has them.
    pub fn write_store(&self, file: &Path) {
        fs::write(file, format!("{}{}", self.key, self.certificate)).unwrap();
    }
}
