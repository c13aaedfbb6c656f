//! Which relay a command talks to.

use super::exit::{Exit, Failure};
use super::http_client::{Client, Endpoint, HttpError};
use super::settings::SettingsArgs;
use crate::buffer::{Keyring, keyring};
use crate::config::Config;
use crate::config::units::parse_time;
use crate::error::chain;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The relay to ask, by address or by its settings.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which relay")]
pub(super) struct TargetArgs {
    /// Address of the relay [default: from the settings]
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    url: Option<Endpoint>,

    /// Unix socket of the relay
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// Which of a relay's doors a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Where events go in.
    Ingest,
    /// Status for people.
    Ops,
    /// Probes: any door that has them.
    Probe,
}

impl TargetArgs {
    /// A client for the relay's door. Settings are read only when no address is given.
    pub(super) fn client(&self, door: Door, timeout: Duration) -> Result<Client, Failure> {
        let endpoint = match (&self.url, &self.socket) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => Endpoint::Socket(path.clone()),
            (None, None) => door.endpoint(&self.settings.load()?)?,
        };
        Ok(Client::new(endpoint, timeout))
    }
}

impl TargetArgs {
    /// The keys to an encrypted buffer directory, by the settings.
    pub(super) fn keyring(&self) -> Result<Keyring, Failure> {
        keyring(&self.settings.load()?.buffer).map_err(|error| Failure::new(Exit::Usage, chain(&error)))
    }

    /// A client that may make changes: over the Unix socket where the settings name one, else with the token.
    pub(super) fn control_client(&self, token_file: Option<&Path>, timeout: Duration) -> Result<Client, Failure> {
        let mut token_file = token_file.map(ToOwned::to_owned);
        let endpoint = match (&self.url, &self.socket) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => Endpoint::Socket(path.clone()),
            (None, None) => {
                let config = self.settings.load()?;
                token_file = token_file.or_else(|| config.ops.token_file.clone());
                match &config.ops.socket {
                    Some(path) => Endpoint::Socket(path.clone()),
                    None => Door::Ops.endpoint(&config)?,
                }
            }
        };
        let over_tcp = token_file.filter(|_| matches!(endpoint, Endpoint::Tcp(_)));
        let token = over_tcp.map(|file| read_token(&file)).transpose()?;
        Ok(Client::new(endpoint, timeout).with_token(token))
    }
}

fn read_token(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("cannot read the token file {}: {error}", file.display())))?;
    Ok(text.trim().to_owned())
}

impl Door {
    fn endpoint(self, config: &Config) -> Result<Endpoint, Failure> {
        let (listen, socket, keys) = match self {
            Self::Ingest => (config.ingest.listen, &config.ingest.socket, "ingest.listen and ingest.socket"),
            Self::Ops => (config.ops.listen, &config.ops.socket, "ops.listen and ops.socket"),
            Self::Probe => {
                let listen = config.ops.probe_listen.or(config.ops.listen);
                (listen, &config.ops.socket, "ops.probe_listen, ops.listen and ops.socket")
            }
        };
        let usable: Option<SocketAddr> = listen.filter(|address| address.port() != 0);
        let socket = || socket.clone().map(Endpoint::Socket);
        usable.map(Endpoint::from).or_else(socket).ok_or_else(|| {
            let text = format!("the settings do not tell where the relay is: {keys} are empty; give --url or --socket");
            Failure::new(Exit::Usage, text)
        })
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let exit = if matches!(error, HttpError::Request { .. }) { Exit::Usage } else { Exit::Unreachable };
        let hint = match &error {
            HttpError::Unreachable { .. } => "; is it running, and is this its address?",
            HttpError::Broken { .. } | HttpError::Timeout { .. } | HttpError::Request { .. } => "",
        };
        Self::new(exit, format!("{}{hint}", chain(&error)))
    }
}

/// Runs a command's conversation with a relay to its end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

/// Reads a time given as a flag.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).map_err(|_| "write a number with a unit, such as 250ms or 2s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: commands find the relay by the same settings as the relay has.
    #[test]
    fn doors() {
        let mut config = Config::default();
        let shown = |door: Door, config: &Config| door.endpoint(config).map(|endpoint| endpoint.to_string()).map_err(|f| f.exit);
        assert_eq!(shown(Door::Ingest, &config), Ok("http://127.0.0.1:7410".into()));
        assert_eq!(shown(Door::Ops, &config), Ok("http://127.0.0.1:7411".into()));
        assert_eq!(shown(Door::Probe, &config), Ok("http://127.0.0.1:7411".into()));
        config.ops.probe_listen = Some(([0, 0, 0, 0], 7412).into());
        config.ingest.listen = None;
        config.ingest.socket = Some("/run/d.sock".into());
        assert_eq!(shown(Door::Probe, &config), Ok("http://127.0.0.1:7412".into()));
        assert_eq!(shown(Door::Ingest, &config), Ok("unix:/run/d.sock".into()));
        config.ops.listen = Some(([127, 0, 0, 1], 0).into());
        assert_eq!(shown(Door::Ops, &config), Err(Exit::Usage));
    }

    // Goal: an address can be pasted as it is written elsewhere.
    #[test]
    fn addresses() {
        for (text, expect) in [
            ("http://127.0.0.1:7411", Some("http://127.0.0.1:7411")),
            ("http://relay:7411/", Some("http://relay:7411")),
            ("[::1]:7411", Some("http://[::1]:7411")),
            ("unix:/run/d.sock", Some("unix:/run/d.sock")),
            ("https://127.0.0.1:7411", None),
            ("http://relay", None),
            ("http://relay:7411/v1/status", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string()).as_deref(), expect, "{text}");
        }
    }
}
