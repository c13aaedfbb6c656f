//! The `CloudEvents` `source` attribute as our source: `/{source_type}/{source_id}`. Pure.
//!
//! The first segment is the type, all the rest is the id: `/repo/owner/name` is the source `owner/name` of type `repo`. `source` is
//! a URI reference, so both are percent-decoded after the split: `/user/jane%20doe` is the same source, and the same Kafka key, as a
//! `source_id` of `jane doe` in our own format. A `?` or `#` belongs to the id. A `%` that starts no escape stays as it is.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Splits a source into type and id, or says what is wrong.
pub(super) fn split(source: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), &'static str> {
    const SHAPE: &str = "must be /{source_type}/{source_id}, such as /user/42";
    let (kind, id) = source.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or(SHAPE)?;
    if kind.is_empty() || id.is_empty() {
        return Err(SHAPE);
    }
    let decode = |part| percent_decode_str(part).decode_utf8().map_err(|_| "holds percent escapes that are not UTF-8");
    Ok((decode(kind)?, decode(id)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a CloudEvents producer reaches the same source, and so the same Kafka key, as one that uses our own format.
    #[test]
    fn splits() {
        for (source, kind, id) in [
            ("/user/42", "user", "42"),
            ("/repo/owner/name", "repo", "owner/name"),
            ("/repo/owner/", "repo", "owner/"),
            ("/user//x", "user", "/x"),
            ("/user/jane%20doe", "user", "jane doe"),
            ("/a%2Fb/c", "a/b", "c"),
            ("/user/50%", "user", "50%"),
            ("/user/x?y=1#z", "user", "x?y=1#z"),
            ("/stadt/Z%C3%BCrich", "stadt", "Zürich"),
        ] {
            assert_eq!(split(source), Ok((kind.into(), id.into())), "{source}");
        }
        for bad in ["", "/", "//", "user/42", "/user", "/user/", "//host/path", "https://example.com/a/b", "urn:uuid:1", "/user/%ff"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
