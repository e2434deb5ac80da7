//! What the client accepts: encodings (RFC 9110, 12.5.3) and validators (13.1.2).

use hyper::header::{ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH};

use crate::market::Encoding;

/// The best encoding that the client accepts: Brotli before gzip before none, by its weights.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    best(headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()))
}

/// Whether the client accepts gzip, though it may like another encoding better.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| best([one]) == Encoding::Gzip)
}

/// The same, from the values of `Accept-Encoding`.
pub(super) fn best<'a>(accepted: impl IntoIterator<Item = &'a str>) -> Encoding {
    let mut best = (Encoding::Identity, 0);
    for value in accepted {
        for part in value.split(',') {
            let mut words = part.split(';');
            let rank = match words.next().map(str::trim) {
                Some("br") => (Encoding::Brotli, 2),
                Some("gzip" | "x-gzip") => (Encoding::Gzip, 1),
                _ => continue,
            };
            let refused = words.any(|word| matches!(word.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            if !refused && rank.1 > best.1 {
                best = rank;
            }
        }
    }
    best.0
}

/// Whether the client already has the body with this validator. Weak comparison, as the RFC asks for `If-None-Match`.
pub(super) fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn brotli_goes_before_gzip_and_a_refused_encoding_is_not_sent() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Encoding::Brotli),
            ("gzip;q=1.0, br;q=0", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("brotli", Encoding::Identity),
        ] {
            assert_eq!(encoding(&with(ACCEPT_ENCODING, accepted)), expected, "{accepted}");
        }
    }

    #[test]
    fn gzip_is_found_beside_what_is_liked_better() {
        for (accepted, takes) in
            [("gzip, deflate, br, zstd", true), ("br, gzip;q=0", false), ("br", false), ("", false)]
        {
            assert_eq!(takes_gzip(&with(ACCEPT_ENCODING, accepted)), takes, "{accepted}");
        }
    }

    #[test]
    fn a_validator_matches_in_a_list_weak_or_strong() {
        for (sent, matches) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"ab\"", false)]
        {
            assert_eq!(none_match(&with(IF_NONE_MATCH, sent), "\"a\""), matches, "{sent}");
        }
    }
}
