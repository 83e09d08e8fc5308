//! What a page says about itself: its canonical address and its title. An address is believed
//! only if it is on the page's own site, so that no page can claim another site's article.

use trafilatura::dom::Document;
use url::Url;

use tidemill_contract::canonical::canonical;

/// The page's canonical address, seen from the address it was fetched from.
pub fn canonical_url(document: &Document, fetched: &Url) -> Url {
    let root = document.root();
    let declared = [("link[rel~=canonical]", "href"), ("meta[property=\"og:url\"]", "content")].into_iter().find_map(
        |(selector, attribute)| {
            let node = document.query_selector(root, selector)?;
            let url = fetched.join(document.get_attribute(node, attribute)?.trim()).ok()?;
            believable(&url, fetched).then_some(url)
        },
    );
    canonical(declared.as_ref().unwrap_or(fetched))
}

/// Same site, and not the front page standing in for every page.
fn believable(declared: &Url, fetched: &Url) -> bool {
    let site = |url: &Url| {
        let host = url.host_str()?.trim_start_matches("www.").to_owned();
        Some((host, url.port()))
    };
    matches!(declared.scheme(), "http" | "https")
        && site(declared).is_some()
        && site(declared) == site(fetched)
        && (declared.path() != "/" || fetched.path() == "/")
}

/// The page's title, without the name of the site, where the page gives it that way.
pub fn title(document: &Document) -> Option<String> {
    let root = document.root();
    let heading = document.query_selector_all(root, "h1");
    let candidates = [
        document
            .query_selector(root, "meta[property=\"og:title\"]")
            .and_then(|node| document.get_attribute(node, "content")),
        // Several first-order headings are a layout, not a title.
        (heading.len() == 1).then(|| all_text(document, heading[0])),
        document.query_selector(root, "title").map(|node| all_text(document, node)),
    ];
    candidates
        .into_iter()
        .flatten()
        .map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "))
        .find(|title| !title.is_empty())
}

fn all_text(document: &Document, node: trafilatura::dom::NodeId) -> String {
    document.text_content(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, fetched: &str, expected: &str) {
        let document = Document::parse(&format!("<html><head>{head}</head><body>x</body></html>"));
        let fetched = Url::parse(fetched).expect("a URL");
        assert_eq!(canonical_url(&document, &fetched).as_str(), expected, "{head}");
    }

    #[test]
    fn canonical_addresses() {
        let link = |href: &str| format!("<link rel=\"canonical\" href=\"{href}\">");
        let at = "https://www.news.example/a?utm_source=x";
        check("", at, "https://www.news.example/a");
        check(&link("/b?gclid=1"), at, "https://www.news.example/b");
        check(&link("https://news.example/b"), at, "https://news.example/b");
        check(&link("https://other.example/b"), at, "https://www.news.example/a");
        check(&link("https://www.news.example/"), at, "https://www.news.example/a");
        check(&link("mailto:a@b"), at, "https://www.news.example/a");
        check("<meta property=\"og:url\" content=\"/c\">", at, "https://www.news.example/c");
    }

    #[test]
    fn titles() {
        let title = |html: &str| title(&Document::parse(html));
        assert_eq!(title("<title>A | Site</title><h1>A <b>big</b> day</h1>"), Some("A big day".into()));
        assert_eq!(title("<title> A\n B </title><h1>x</h1><h1>y</h1>"), Some("A B".into()));
        assert_eq!(title("<p>nothing"), None);
    }
}
