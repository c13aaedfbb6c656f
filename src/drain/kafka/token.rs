//! The token of OAUTHBEARER, from a file that somebody else renews.
//!
//! librdkafka asks for a token when it connects and again at four fifths of its life. Of the token only its end (`exp`) and its owner
//! (`sub`) are read; whether it is genuine is the broker's to say.

use crate::config::read_secret_file;
use crate::error::chain;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The owner of a token that does not name one; librdkafka wants a name, and sends it nowhere.
const NAMELESS: &str = "dualstream";

/// How long a token counts as good that does not say so itself: its file is read again before.
const OPAQUE_LIFE_MS: i64 = 300_000;

/// Where the token is.
#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("kafka.sasl_token_file is {}, which cannot be read", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("kafka.sasl_token_file is {}, which is empty", .0.display())]
    Empty(PathBuf),
    #[error("the token in {} (kafka.sasl_token_file) expired at {at}; whoever renews the file has stopped doing so", .path.display())]
    Expired { path: PathBuf, at: String },
}

/// The claims of a JWT that matter here.
#[derive(Default, Deserialize)]
struct Claims {
    exp: Option<f64>,
    sub: Option<String>,
}

impl TokenFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The token that is in the file now. The error is a whole sentence: librdkafka hands it on as text.
    pub(super) fn read(&self, now_ms: i64) -> Result<OAuthToken, String> {
        self.token(now_ms).map_err(|error| chain(&error))
    }

    fn token(&self, now_ms: i64) -> Result<OAuthToken, TokenError> {
        let path = || self.path.clone();
        let text = read_secret_file(&self.path).map_err(|source| TokenError::Unreadable { path: path(), source })?;
        let token = text.trim();
        if token.is_empty() {
            return Err(TokenError::Empty(path()));
        }
        let claims = claims(token).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "a time beyond the range of i64 is as good as never")]
        let lifetime_ms = claims.exp.map_or(now_ms + OPAQUE_LIFE_MS, |seconds| (seconds * 1000.0) as i64);
        if lifetime_ms <= now_ms {
            let at = jiff::Timestamp::from_millisecond(lifetime_ms).map_or_else(|_| "an unknown time".to_owned(), |at| at.to_string());
            return Err(TokenError::Expired { path: path(), at });
        }
        Ok(OAuthToken { token: token.to_owned(), principal_name: claims.sub.unwrap_or_else(|| NAMELESS.to_owned()), lifetime_ms })
    }
}

/// The claims of a JWT (`header.claims.signature`); `None` for a token of another kind.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(claims), part("signature"))
    }

    fn read(text: &str) -> Result<(String, String, i64), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, text).unwrap();
        let token = TokenFile::new(&path).read(NOW_MS)?;
        Ok((token.token, token.principal_name, token.lifetime_ms))
    }

    // Goal: a token is renewed before it expires: its own end counts, and a token that has none is read again within minutes.
    #[test]
    fn the_end_of_a_token_is_its_own() {
        let token = jwt(r#"{"sub":"relay","exp":1800000600}"#);
        assert_eq!(read(&format!("{token}\n")), Ok((token, "relay".to_owned(), NOW_MS + 600_000)));
        assert_eq!(read("opaque"), Ok(("opaque".to_owned(), NAMELESS.to_owned(), NOW_MS + OPAQUE_LIFE_MS)));
        assert_eq!(read("a.b.c").map(|(_, _, life)| life), Ok(NOW_MS + OPAQUE_LIFE_MS));
    }

    // Goal: a token file that nobody renews any more is named as such, not as wrong credentials; the token itself is not printed.
    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let token = jwt(r#"{"exp":1799999999}"#);
        let problem = read(&token).unwrap_err();
        assert!(problem.contains("expired at 2027-01-15T07:59:59Z") && !problem.contains(&token), "{problem}");
        assert!(read(" \n").unwrap_err().ends_with("which is empty"));
        let absent = TokenFile::new(Path::new("/nowhere/token")).read(NOW_MS).map(drop).unwrap_err();
        assert!(absent.starts_with("kafka.sasl_token_file is /nowhere/token, which cannot be read"), "{absent}");
    }
}
