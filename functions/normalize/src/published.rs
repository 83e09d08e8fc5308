//! When a page says that it was published: the most exact of its metadata, JSON-LD and `time`
//! elements. A time that no clock can have reached yet is not believed.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::Value;
use trafilatura::dom::Document;

/// Attributes that hold the time of publication, the most reliable first.
const PLACES: &[(&str, &str)] = &[
    ("meta[property=\"article:published_time\"]", "content"),
    ("meta[name=\"article:published_time\"]", "content"),
    ("meta[property=\"og:article:published_time\"]", "content"),
    ("meta[itemprop=\"datePublished\"]", "content"),
    ("[itemprop=\"datePublished\"][datetime]", "datetime"),
    ("meta[name=\"parsely-pub-date\"]", "content"),
    ("meta[name=\"sailthru.date\"]", "content"),
    ("meta[name=\"pubdate\"]", "content"),
    ("meta[name=\"publish-date\"]", "content"),
    ("meta[name=\"DC.date.issued\"]", "content"),
    ("meta[name=\"date\"]", "content"),
    ("time[pubdate][datetime]", "datetime"),
    ("article time[datetime]", "datetime"),
    ("time[datetime]", "datetime"),
];
/// Formats besides RFC 3339 and RFC 2822; without a zone they are read as UTC.
const ZONED: &[&str] = &["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S %z"];
const PLAIN: &[&str] = &["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
const DATES: &[&str] = &["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d %B %Y", "%B %d, %Y", "%b %d, %Y"];

/// When the page was published, by its own account, if that is before `now`.
pub fn published(document: &Document, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let root = document.root();
    let tagged = PLACES.iter().filter_map(|(selector, attribute)| {
        document.get_attribute(document.query_selector(root, selector)?, attribute)
    });
    let linked = document
        .scripts_with_type(&["application/ld+json"])
        .into_iter()
        .filter_map(|node| serde_json::from_str(&document.text_content(node)).ok())
        .filter_map(|json: Value| date_published(&json, 0).map(str::to_owned));
    let times: Vec<_> = tagged.chain(linked).filter_map(|text| parse(&text)).collect();
    let believed = |time: &&DateTime<Utc>| believable(**time, now);
    let exact = |time: &&DateTime<Utc>| time.time() != NaiveTime::MIN;
    let first = times.iter().find(believed)?;
    // A bare date is made more exact by a later place that names the time of the same day.
    let same_day = |time: &&DateTime<Utc>| time.date_naive() == first.date_naive();
    Some(*times.iter().filter(same_day).find(exact).unwrap_or(first))
}

/// Whether some clock can have reached the time: a bare date is read as if it were in UTC.
pub fn believable(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time <= now + Duration::days(1)
}

/// A time as pages write it.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let rfc = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    if let Ok(time) = rfc {
        return Some(time.to_utc());
    }
    let zoned = ZONED.iter().find_map(|format| DateTime::parse_from_str(text, format).ok());
    if let Some(time) = zoned {
        return Some(time.to_utc());
    }
    let plain = PLAIN.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let date = || DATES.iter().find_map(|format| NaiveDate::parse_from_str(text, format).ok());
    plain.or_else(|| date().map(|date| date.and_time(NaiveTime::MIN))).map(|time| time.and_utc())
}

/// How deep a JSON-LD graph is searched.
const DEPTH: usize = 4;

fn date_published(json: &Value, depth: usize) -> Option<&str> {
    if depth > DEPTH {
        return None;
    }
    match json {
        Value::Array(items) => items.iter().find_map(|item| date_published(item, depth + 1)),
        Value::Object(object) => object
            .get("datePublished")
            .and_then(Value::as_str)
            .or_else(|| date_published(object.get("@graph")?, depth + 1))
            .or_else(|| date_published(object.get("mainEntity")?, depth + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expected: Option<&str>) {
        let now = parse("2026-06-01").expect("a date");
        let found = published(&Document::parse(html), now);
        assert_eq!(found.map(|time| time.to_rfc3339()), expected.map(str::to_owned), "{html}");
    }

    #[test]
    fn finds_the_time_of_publication() {
        let meta = |content: &str| format!("<meta property=\"article:published_time\" content=\"{content}\">");
        check(&meta("2026-01-02T03:04:05+02:00"), Some("2026-01-02T01:04:05+00:00"));
        check(&meta("2026-01-02T03:04:05+0200"), Some("2026-01-02T01:04:05+00:00"));
        check(&meta("soon"), None);
        check(&meta("2031-01-02"), None);
        check(
            &(meta("2026-01-02") + "<article><time datetime=\"2026-01-02 10:30\">x</time></article>"),
            Some("2026-01-02T10:30:00+00:00"),
        );
        check(
            "<script type=\"application/ld+json\">{\"@graph\":[{\"datePublished\":\"2026-03-04T05:06:07Z\"}]}</script>",
            Some("2026-03-04T05:06:07+00:00"),
        );
        check("<p>no date</p>", None);
    }
}
