//! Pages from articles: the six layouts and the listing, as the files in `news/layouts` hold
//! them. An article keeps its layout.

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::{Environment, Value, context};
use serde::Serialize;
use serde_json::json;

use super::article::{Article, sections};

const ARTICLES: &[(&str, &str)] = &[
    ("broadsheet.html", include_str!("../../news/layouts/broadsheet.html")),
    ("blog.html", include_str!("../../news/layouts/blog.html")),
    ("wire.html", include_str!("../../news/layouts/wire.html")),
    ("magazine.html", include_str!("../../news/layouts/magazine.html")),
    ("app.html", include_str!("../../news/layouts/app.html")),
    ("desk.html", include_str!("../../news/layouts/desk.html")),
];
const INDEX: (&str, &str) = ("index.html", include_str!("../../news/layouts/index.html"));

/// A link with its text.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Where it leads.
    pub path: String,
    /// What it says.
    pub title: String,
}

/// Writes pages.
pub struct Layouts(Environment<'static>);

impl Layouts {
    /// The layouts, parsed.
    pub fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        for (name, source) in ARTICLES.iter().chain([&INDEX]) {
            environment.add_template(name, source)?;
        }
        Ok(Self(environment))
    }

    /// The page of the article in place `nth`.
    pub fn article(
        &self,
        nth: usize,
        article: &Article,
        published: DateTime<Utc>,
        related: &[Entry],
    ) -> Result<String, minijinja::Error> {
        let time = published.to_rfc3339_opts(SecondsFormat::Secs, true);
        let json_ld = json!({"@context": "https://schema.org", "@type": "NewsArticle",
            "headline": article.title, "datePublished": time,
            "author": {"@type": "Person", "name": article.author}});
        self.0.get_template(ARTICLES[nth % ARTICLES.len()].0)?.render(context! {
            title => article.title,
            author => article.author,
            section => article.section,
            paragraphs => article.paragraphs,
            canonical => format!("/news/{}", article.slug),
            published => time,
            day => published.format("%-d %B %Y").to_string(),
            json_ld => Value::from_safe_string(json_ld.to_string()),
            sections => sections(),
            related,
        })
    }

    /// A page that lists articles.
    pub fn index(&self, title: &str, entries: &[Entry]) -> Result<String, minijinja::Error> {
        let context = context! { title, entries, sections => sections() };
        self.0.get_template(INDEX.0)?.render(context)
    }
}
