//! Tells HTML from what servers only call HTML: documents of other formats, binary data and
//! JSON are refused, broken HTML is not.

use std::borrow::Cow;
use std::fmt;

/// What a value is instead of HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHtml {
    /// Nothing but white space.
    Empty,
    /// A PDF document.
    Pdf,
    /// Bytes that are not text.
    Binary,
    /// A JSON document.
    Json,
    /// A feed or another XML document.
    Xml,
    /// Text without a single HTML element.
    PlainText,
}

impl fmt::Display for NotHtml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "rawHtml is empty",
            Self::Pdf => "rawHtml is a PDF document",
            Self::Binary => "rawHtml is binary data",
            Self::Json => "rawHtml is a JSON document",
            Self::Xml => "rawHtml is an XML document that is not XHTML",
            Self::PlainText => "rawHtml has no HTML element",
        })
    }
}

/// Elements that show that someone meant HTML.
const ELEMENTS: &[&str] = &[
    "html",
    "head",
    "body",
    "title",
    "meta",
    "p",
    "div",
    "span",
    "article",
    "section",
    "main",
    "h1",
    "h2",
    "h3",
    "h4",
    "a",
    "b",
    "i",
    "em",
    "strong",
    "br",
    "ul",
    "ol",
    "li",
    "table",
    "td",
    "tr",
    "blockquote",
    "pre",
    "header",
    "footer",
    "nav",
    "font",
    "center",
    "img",
    "dl",
    "dd",
];
/// More than one such character in this many is no text.
const CONTROL_SHARE: usize = 100;

/// Passes HTML, however broken.
///
/// # Errors
/// What the text is instead.
pub fn check(text: &str) -> Result<(), NotHtml> {
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if start.is_empty() {
        return Err(NotHtml::Empty);
    }
    if start.starts_with("%PDF-") {
        return Err(NotHtml::Pdf);
    }
    if is_binary(text) {
        return Err(NotHtml::Binary);
    }
    if start.starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(text).is_ok() {
        return Err(NotHtml::Json);
    }
    let mut elements = element_names(text).peekable();
    if start.starts_with("<?xml") || start.starts_with("<rss") || start.starts_with("<feed") {
        return if elements.any(|name| name == "html") { Ok(()) } else { Err(NotHtml::Xml) };
    }
    if elements.any(|name| ELEMENTS.contains(&name.as_str())) { Ok(()) } else { Err(NotHtml::PlainText) }
}

/// The page with its title closed. A parser takes everything after an open title for the title,
/// as browsers do; whoever forgot to close it meant it to end where the next tag begins.
pub fn repair(html: &str) -> Cow<'_, str> {
    let lower = html.to_ascii_lowercase();
    let unclosed = lower.find("<title").filter(|_| !lower.contains("</title"));
    let next = unclosed.and_then(|at| {
        let text = at + lower[at..].find('>')? + 1;
        Some(text + lower[text..].find('<')?)
    });
    match next {
        Some(next) => Cow::Owned(format!("{}</title>{}", &html[..next], &html[next..])),
        None => Cow::Borrowed(html),
    }
}

fn is_binary(text: &str) -> bool {
    let strange = |c: &char| {
        *c == char::REPLACEMENT_CHARACTER
            || (c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{80}'..='\u{9f}'))
    };
    text.chars().filter(strange).count() * CONTROL_SHARE > text.chars().count()
}

/// Names of the start tags, in lower case.
fn element_names(text: &str) -> impl Iterator<Item = String> {
    text.split('<').skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        (end > 0).then(|| rest[..end].to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_is(text: &str, expected: Result<(), NotHtml>) {
        assert_eq!(check(text), expected, "{text:?}");
    }

    #[test]
    fn closes_a_title_that_swallows_the_page() {
        assert_eq!(repair("<Title>a<p>b"), "<Title>a</title><p>b");
        for whole in ["<title>a</title><p>b", "<p>b", "<title>only", "<title"] {
            assert_eq!(repair(whole), whole);
        }
    }

    #[test]
    fn tells_html_from_the_rest() {
        check_is("<!doctype html><p>x", Ok(()));
        check_is("\u{feff} <DIV>unclosed", Ok(()));
        check_is("text first <b>then bold", Ok(()));
        check_is("<?xml version=\"1.0\"?><html xmlns=\"x\"><body>x</body></html>", Ok(()));
        check_is(" \n", Err(NotHtml::Empty));
        check_is("%PDF-1.7\n<p>", Err(NotHtml::Pdf));
        check_is("\u{0}\u{1}\u{fffd}\u{fffd}<p>\u{fffd}PNG", Err(NotHtml::Binary));
        check_is("{\"a\": \"<p>x</p>\"}", Err(NotHtml::Json));
        check_is("<?xml version=\"1.0\"?><rss><title>x</title></rss>", Err(NotHtml::Xml));
        check_is("1 < 2 and 3 > 2", Err(NotHtml::PlainText));
    }
}
