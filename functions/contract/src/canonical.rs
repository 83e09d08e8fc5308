//! The canonical form of an address: two links to one page have one form. Applying it twice
//! gives what applying it once gives.

use url::Url;

/// Query parameters that say how the reader came, not what the page is.
const TRACKING: &[&str] = &[
    "fbclid",
    "gclid",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "twclid",
    "igshid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "ref",
    "ref_src",
    "ref_url",
    "cmpid",
    "ncid",
    "ocid",
    "spm",
    "s_cid",
    "smid",
    "sr_share",
    "guccounter",
    "guce_referrer",
    "guce_referrer_sig",
];
const TRACKING_PREFIXES: &[&str] = &["utm_", "pk_", "mtm_", "hsa_", "at_campaign", "at_medium"];

/// The canonical form: no fragment, credentials, default port or tracking parameters;
/// parameters sorted; no slash at the end of a path.
pub fn canonical(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    if url.has_host() {
        // Only addresses without a host refuse these, and they carry no credentials.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        debug_assert!(cleared.is_ok());
    }
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !is_tracking(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    pairs.sort();
    if pairs.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    let path = url.path();
    if path.len() > 1 && path.ends_with('/') {
        let trimmed = path.trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
    }
    url
}

fn is_tracking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TRACKING.contains(&name.as_str()) || TRACKING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: &str, expected: &str) {
        let url = Url::parse(input).expect("a URL");
        assert_eq!(canonical(&url).as_str(), expected, "{input}");
    }

    #[test]
    fn forms() {
        check("HTTP://News.Example:80/a/?utm_source=x&b=2&a=1#top", "http://news.example/a?a=1&b=2");
        check("https://news.example:443/a?fbclid=1", "https://news.example/a");
        check("https://news.example", "https://news.example/");
        check("https://me:secret@news.example:8443/a/../b//", "https://news.example:8443/b");
        check("https://news.example/a?q=a+b&q=%20", "https://news.example/a?q=+&q=a+b");
        check("https://news.example/a?preference=1", "https://news.example/a?preference=1");
    }

    proptest! {
        #[test]
        fn twice_is_once(path in "[a-z/%0-9.]{0,12}", query in "[a-z&=+%_0-9]{0,24}") {
            if let Ok(url) = Url::parse(&format!("http://a.example/{path}?{query}#f")) {
                let once = canonical(&url);
                prop_assert_eq!(canonical(&once), once);
            }
        }
    }
}
