//! Escapes of half a surrogate pair, such as those of an emoji that was cut in two: JSON by its grammar, and no Unicode.

/// What stands for one: U+FFFD, as long as the escape that it replaces.
const REPLACEMENT: &[u8] = b"\\ufffd";
/// The length of an escape.
const ESCAPE: usize = REPLACEMENT.len();

/// JSON with each of them replaced; `None` where there is none.
pub fn paired(json: &[u8]) -> Option<Vec<u8>> {
    let mut text = json.to_vec();
    let (mut at, mut replaced) = (0, false);
    while at < text.len() {
        at += match (text[at], unit(&text[at..])) {
            (_, Some(0xD800..=0xDBFF)) if matches!(unit(&text[at + ESCAPE..]), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE,
            (_, Some(0xD800..=0xDFFF)) => {
                text[at..at + ESCAPE].copy_from_slice(REPLACEMENT);
                replaced = true;
                ESCAPE
            }
            // The next one is escaped, and begins nothing.
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    replaced.then_some(text)
}

/// The UTF-16 code unit whose escape the text begins with.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    // A sign is no digit.
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::paired;

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#""ab\ud83d""#, Some(r#""ab\ufffd""#)),
            (r#""\ud83d\ud83d\ude00""#, Some(r#""\ufffd\ud83d\ude00""#)),
            (r#""\ude00\uD83D""#, Some(r#""\ufffd\ufffd""#)),
            (r#""\ud83d\u0041""#, Some(r#""\ufffd\u0041""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\\\ud83d""#, Some(r#""\\\ufffd""#)),
            (r#""\ud8"#, None),
            (r#""\u+83d""#, None),
            (r#""\"#, None),
            ("", None),
        ] {
            let paired = paired(json.as_bytes());
            assert_eq!(paired.as_deref(), expected.map(str::as_bytes), "{json}");
        }
    }
}
