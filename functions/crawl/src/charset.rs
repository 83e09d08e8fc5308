//! Bytes of a page to text, pure: by the server's word, else by the page's own `meta`, else
//! UTF-8. Never fails: what is no character becomes U+FFFD.

use encoding_rs::{Encoding, UTF_8};

/// How far into a page its `meta` is looked for, as browsers do.
const PRESCAN: usize = 1024;

/// The text of a page served as `content_type`.
pub fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    let encoding = content_type
        .and_then(after_charset)
        .or_else(|| {
            let head = String::from_utf8_lossy(&bytes[..bytes.len().min(PRESCAN)]).into_owned();
            after_charset(&head)
        })
        .unwrap_or(UTF_8);
    encoding.decode(bytes).0.into_owned()
}

fn after_charset(text: &str) -> Option<&'static Encoding> {
    let text = text.to_ascii_lowercase();
    let (_, rest) = text.split_once("charset")?;
    let label = rest.trim_start().strip_prefix('=')?.trim_start_matches([' ', '"', '\'']);
    let end = label.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c)));
    Encoding::for_label(&label.as_bytes()[..end.unwrap_or(label.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_then_the_page_then_utf_8() {
        let korean = b"<meta charset=\"euc-kr\"><p>\xc1\xd6\xbd\xc4";
        assert!(decode(korean, None).ends_with("주식"));
        assert!(decode(korean, Some("text/html")).ends_with("주식"));
        assert_eq!(decode(b"caf\xe9", Some("text/html; charset=ISO-8859-1")), "café");
        assert_eq!(decode("café".as_bytes(), Some("text/html; charset=nonsense")), "café");
        assert_eq!(decode(b"caf\xe9", None), "caf\u{fffd}");
    }
}
