//! The articles, as the files in `news/articles` hold them: one file a section, and in it for
//! each article a heading, `by:` and `slug:` lines, and paragraphs between blank lines.

/// One article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// The headline.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// The last part of its address.
    pub slug: String,
    /// The section it stands in.
    pub section: &'static str,
    /// Its text.
    pub paragraphs: Vec<String>,
}

const SECTIONS: &[(&str, &str)] = &[
    ("crypto", include_str!("../../news/articles/crypto.md")),
    ("markets", include_str!("../../news/articles/markets.md")),
    ("companies", include_str!("../../news/articles/companies.md")),
    ("policy", include_str!("../../news/articles/policy.md")),
    ("commodities", include_str!("../../news/articles/commodities.md")),
    ("technology", include_str!("../../news/articles/technology.md")),
];

/// The names of the sections.
pub fn sections() -> Vec<&'static str> {
    SECTIONS.iter().map(|(name, _)| *name).collect()
}

/// All articles, sections taking turns.
pub fn articles() -> Vec<Article> {
    let mut ordered: Vec<(usize, Article)> = SECTIONS
        .iter()
        .flat_map(|(section, file)| {
            let parts = file.split("# ").skip(1);
            parts.enumerate().map(|(nth, part)| (nth, parse(section, part)))
        })
        .collect();
    ordered.sort_by_key(|(nth, _)| *nth);
    ordered.into_iter().map(|(_, article)| article).collect()
}

fn parse(section: &'static str, text: &str) -> Article {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    Article {
        title: head.lines().next().unwrap_or_default().trim().to_owned(),
        author: field("by:"),
        slug: field("slug:"),
        section,
        paragraphs: body.trim().split("\n\n").map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_article_is_whole() {
        let articles = articles();
        assert!(articles.len() >= 24, "{}", articles.len());
        let slugs: HashSet<_> = articles.iter().map(|article| &article.slug).collect();
        assert_eq!(slugs.len(), articles.len());
        for article in &articles {
            assert!(!article.title.is_empty() && !article.author.is_empty(), "{article:?}");
            assert!(article.slug.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{article:?}");
            assert!((4..=8).contains(&article.paragraphs.len()), "{article:?}");
            assert!(article.paragraphs.iter().all(|text| text.len() > 80), "{article:?}");
        }
    }
}
