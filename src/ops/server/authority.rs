//! Who may change something: whoever can open the Unix socket, and whoever has the token.

use super::route::Surface;
use crate::config::read_secret_file;
use std::path::{Path, PathBuf};

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Which listener the request came in on.
    pub(super) surface: Surface,
    /// For the log: an address, or a process.
    pub(super) name: String,
}

/// Why somebody may not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// There is no token to have.
    #[error("changes need the Unix socket (ops.socket) or a token, and ops.token_file is not set")]
    NoToken,
    /// The file cannot be used; the detail is for the log alone.
    #[error("the relay cannot read a token from ops.token_file; its log says why")]
    TokenFile,
    /// Not the token.
    #[error("changes need the token: Authorization: Bearer …")]
    WrongToken,
}

/// The rule.
#[derive(Debug)]
pub(super) struct Authority {
    token_file: Option<PathBuf>,
}

impl Authority {
    pub(super) fn new(token_file: Option<PathBuf>) -> Self {
        Self { token_file }
    }

    /// Whether `caller`, with this `Authorization` header, may change something.
    pub(super) fn check(&self, caller: &Caller, authorization: Option<&str>) -> Result<(), Denied> {
        if caller.surface == Surface::Socket {
            return Ok(());
        }
        let file = self.token_file.as_deref().ok_or(Denied::NoToken)?;
        // Read each time: a rotated secret counts at once.
        let token = read(file)?;
        let given = authorization.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let given = given.map(|(_, token)| token.trim()).ok_or(Denied::WrongToken)?;
        if same(given.as_bytes(), token.as_bytes()) { Ok(()) } else { Err(Denied::WrongToken) }
    }
}

fn read(file: &Path) -> Result<String, Denied> {
    let text = read_secret_file(file).inspect_err(|error| tracing::error!(file = %file.display(), %error, "cannot read ops.token_file"));
    let token = text.map_err(|_| Denied::TokenFile)?.trim().to_owned();
    if token.is_empty() {
        tracing::error!(file = %file.display(), "ops.token_file is empty: nobody is let in");
        return Err(Denied::TokenFile);
    }
    Ok(token)
}

/// In a time that does not tell how much of it is right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |differences, (a, b)| differences | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    // Goal: a change is made for the socket or for the right token, and for nobody else; a rotated token counts at once.
    #[test]
    fn who_may() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let with_file = Authority::new(Some(file.clone()));
        let check =
            |authority: &Authority, surface, header: Option<&str>| authority.check(&Caller { surface, name: String::new() }, header);
        assert_eq!(check(&with_file, Surface::Socket, None), Ok(()));
        assert_eq!(check(&Authority::new(None), Surface::Loopback, Some("Bearer x")), Err(Denied::NoToken));
        assert_eq!(check(&with_file, Surface::Loopback, Some("Bearer x")), Err(Denied::TokenFile), "absent");
        fs::write(&file, " \n").unwrap();
        assert_eq!(check(&with_file, Surface::Loopback, Some("Bearer ")), Err(Denied::TokenFile), "empty");
        for token in ["first", "second-one"] {
            fs::write(&file, format!("{token}\n")).unwrap();
            assert_eq!(check(&with_file, Surface::Loopback, Some(&format!("bearer {token}"))), Ok(()));
            for wrong in [None, Some("Bearer"), Some("Bearer "), Some("Bearer firs"), Some("Bearer second-onX"), Some("Basic first")] {
                assert_eq!(check(&with_file, Surface::Loopback, wrong), Err(Denied::WrongToken), "{wrong:?}");
            }
        }
    }
}
