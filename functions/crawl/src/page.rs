//! What is read from pages, pure: the links of a listing, the fields of an article.

use std::collections::BTreeMap;

use scraper::{ElementRef, Html, Selector};
use url::Url;

use crate::config::Source;

/// What a source's selectors find on an article's page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The title; empty if none is found.
    pub title: String,
    /// `body` and `publishedAt`, where they are found.
    pub metadata: BTreeMap<String, String>,
}

/// The addresses of the articles that a page lists, in its order, each once, without fragments.
pub fn links(html: &str, at: &Url, article: &Selector) -> Vec<Url> {
    let page = Html::parse_document(html);
    let mut links = Vec::new();
    for element in page.select(article) {
        let href = element.attr("href").and_then(|href| at.join(href.trim()).ok());
        let Some(mut url) = href.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            continue;
        };
        url.set_fragment(None);
        if !links.contains(&url) {
            links.push(url);
        }
    }
    links
}

/// What the source's selectors find on an article's page.
pub fn fields(html: &str, source: &Source) -> Fields {
    if source.title.is_none() && source.body.is_none() && source.date.is_none() {
        return Fields::default();
    }
    let page = Html::parse_document(html);
    let first = |selector: &Option<Selector>| selector.as_ref().and_then(|selector| page.select(selector).next());
    let mut fields = Fields::default();
    if let Some(element) = first(&source.title) {
        fields.title = text(element);
    }
    let body = source.body.as_ref().map(|selector| {
        let parts: Vec<String> = page.select(selector).map(text).collect();
        parts.join("\n").trim().to_owned()
    });
    if let Some(body) = body.filter(|body| !body.is_empty()) {
        fields.metadata.insert("body".to_owned(), body);
    }
    if let Some(element) = first(&source.date) {
        let attribute = element.attr("datetime").or_else(|| element.attr("content"));
        let date = attribute.map_or_else(|| text(element), |value| value.trim().to_owned());
        fields.metadata.insert("publishedAt".to_owned(), date);
    }
    fields
}

/// An element's text, white space collapsed.
fn text(element: ElementRef<'_>) -> String {
    let text: Vec<&str> = element.text().flat_map(str::split_whitespace).collect();
    text.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn links_are_absolute_and_unique() {
        let html = "<nav><a href=/n>n</a></nav><h2><a href='a#top'>a</a></h2><h2><a href=/x/a>a</a></h2>\
                    <h2><a href='mailto:x@y'>m</a></h2><h2><a>none</a></h2><h2><a href='//b.example/?q'>b</a></h2>";
        let at = Url::parse("http://a.example/x/").expect("a URL");
        let found = links(html, &at, &Selector::parse("h2 a").expect("CSS"));
        let found: Vec<_> = found.iter().map(Url::as_str).collect();
        assert_eq!(found, ["http://a.example/x/a", "http://b.example/?q"]);
    }

    #[test]
    fn fields_come_from_the_selectors() {
        let json = r#"{"sources":[{"name":"s","baseUrl":"http://a.example","start":["/"],"article":"a",
            "title":"h1","body":".b p","date":"time"}]}"#;
        let source = parse(json, None).expect("good").remove(0);
        let html = "<h1> A <b>day</b>\n</h1><div class=b><p>One.</p><p>Two.</p></div><time datetime=2026-01-02>x";
        let found = fields(html, &source);
        assert_eq!(found.title, "A day");
        assert_eq!(found.metadata["body"], "One.\nTwo.");
        assert_eq!(found.metadata["publishedAt"], "2026-01-02");
        assert_eq!(fields("<p>x", &source), Fields::default());
    }
}
