//! The main text of a page. Every page that has any text gives some: when the extractor finds
//! no article, the text of the whole body stands in.

use trafilatura::dom::Document;
use trafilatura::{ExtractionFocus, Options, extract_document, html2txt};
use url::Url;

/// What the extractor finds on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainText {
    /// The article, paragraphs separated by line breaks; never blank.
    pub text: String,
    /// The date the extractor found, where it found one.
    pub date: Option<chrono::NaiveDate>,
}

/// An extraction shorter than this, in bytes, is tried again less strictly.
const SHORT: usize = 250;

/// The page's main text, or nothing if the page has no text at all.
pub fn main_text(html: &str, document: &Document, url: &Url) -> Option<MainText> {
    let strict = attempt(document, url, ExtractionFocus::FavorPrecision);
    let best = match strict {
        Some(main) if main.text.len() >= SHORT => Some(main),
        short => attempt(document, url, ExtractionFocus::Balanced)
            .filter(|main| short.as_ref().is_none_or(|short| main.text.len() > short.text.len()))
            .or(short),
    };
    best.or_else(|| {
        let text = paragraphs(&html2txt(html));
        (!text.is_empty()).then_some(MainText { text, date: None })
    })
}

/// Strict first gives the best F1 on news pages; `examples/evaluate.rs` measures it.
fn attempt(document: &Document, url: &Url, focus: ExtractionFocus) -> Option<MainText> {
    let options =
        Options::default().with_fallback(true).with_focus(focus).with_exclude_comments(true).with_url(url.clone());
    match extract_document(document.clone_document(), &options) {
        Ok(result) => {
            let text = paragraphs(&result.content_text);
            (!text.is_empty()).then_some(MainText { text, date: result.metadata.date })
        }
        Err(error) => {
            tracing::debug!(%error, %url, "no article found");
            None
        }
    }
}

/// Trimmed lines, blank ones left out.
fn paragraphs(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(html: &str) -> Option<String> {
        let url = Url::parse("http://news.example/a").expect("a URL");
        main_text(html, &Document::parse(html), &url).map(|main| main.text)
    }

    #[test]
    fn leaves_the_frame_out() {
        let story = "The council agreed on Tuesday to raise the limit for the third time. ".repeat(6);
        let html = format!(
            "<html><body><nav><a href=/>Home</a><a href=/m>Markets</a></nav><article><h1>Limit</h1>\
             <p>{story}</p><p>{story}</p></article><footer>All rights reserved</footer></body></html>"
        );
        let text = text_of(&html).expect("text");
        assert!(text.contains("council agreed") && !text.contains("rights"), "{text}");
    }

    #[test]
    fn a_page_without_text_gives_none() {
        for html in ["<html></html>", "<body> \n <script>var a</script></body>", "<img src=x>"] {
            assert_eq!(text_of(html), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_text(
            word in "[a-zA-Z]{1,12}",
            open in prop::sample::select(vec!["<p>", "<div>", "<footer>", "<nav><a>", "<td>", "<b", "<li>"]),
            junk in "[<>/a-z \"=]{0,20}",
        ) {
            let html = format!("<html><body>{junk}<p>{word}</p>{open}");
            prop_assume!(!junk.contains('<'));
            prop_assert!(text_of(&html).is_some(), "{}", html);
        }
    }
}
