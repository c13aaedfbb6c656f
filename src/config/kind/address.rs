//! Addresses to listen on.

use super::super::given::Given;
use super::Kind;
use std::net::SocketAddr;

/// An IP address and port to listen on.
#[derive(Clone, Copy)]
pub(in crate::config) enum Address {
    /// Only for processes of the same host (or pod): anything else is refused.
    Loopback,
    /// Any address.
    Any,
}

impl Kind for Address {
    type Value = SocketAddr;

    fn read(&self, given: &Given) -> Result<SocketAddr, String> {
        let text = given.text()?;
        let address: SocketAddr = text.trim().parse().map_err(|_| format!("{text:?}, which is not an IP address and port"))?;
        match self {
            Self::Loopback if !address.ip().to_canonical().is_loopback() => Err(format!(
                "{address}, which other hosts can reach: without a token or TLS, which this version does not have, anybody there could use it"
            )),
            Self::Loopback | Self::Any => Ok(address),
        }
    }

    fn show(&self, value: &SocketAddr) -> String {
        format!("\"{value}\"")
    }

    fn allowed(&self) -> String {
        match self {
            Self::Loopback => "a loopback address and port, such as \"127.0.0.1:7410\" or \"[::1]:7410\"",
            Self::Any => "an IP address and port, such as \"0.0.0.0:7412\"",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loose;
    use super::*;

    // Goal: nothing listens beyond loopback without protection, however the address is spelled.
    #[test]
    fn loopback_only() {
        for text in ["127.0.0.1:7410", "127.9.9.9:1", "[::1]:7410", "[::ffff:127.0.0.1]:1", "127.0.0.1:0"] {
            assert!(loose(&Address::Loopback, text).is_ok(), "{text}");
        }
        for text in ["0.0.0.0:7410", "10.0.0.1:7410", "[::]:7410", "[::ffff:10.0.0.1]:1"] {
            assert!(loose(&Address::Loopback, text).unwrap_err().contains("without a token or TLS"), "{text}");
            assert!(loose(&Address::Any, text).is_ok(), "{text}");
        }
        for text in ["7410", ":7410", "localhost:7410", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(loose(&Address::Any, text).unwrap_err().ends_with("which is not an IP address and port"), "{text}");
        }
    }
}
