//! Which topics hold dead letters, and what was meant by a name that no topic has. No I/O.

use std::collections::BTreeMap;

/// What the names of topics of dead letters begin with, unless a manifest says otherwise.
const PREFIX: &str = "dlq.";

/// Why a topic cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no topic `{name}` on {servers}: {remedy}")]
pub struct Unknown {
    name: String,
    servers: String,
    remedy: String,
}

/// The topics that hold dead letters, going by their names.
pub fn of_letters(topics: &BTreeMap<String, i32>) -> impl Iterator<Item = &String> {
    topics.keys().filter(|name| name.starts_with(PREFIX))
}

/// That the topic of dead letters is there.
///
/// # Errors
/// Where it is not; names that are nearly that one are told.
pub fn known(name: &str, topics: &BTreeMap<String, i32>, servers: &str) -> Result<(), Unknown> {
    if topics.contains_key(name) {
        return Ok(());
    }
    let letters_of = format!("{PREFIX}{name}");
    let meant = if topics.contains_key(&letters_of) { vec![letters_of] } else { near(&[name, &letters_of], topics) };
    let remedy = did_you_mean(&meant).unwrap_or_else(|| match of_letters(topics).next() {
        None => "it has no topics of dead letters (dlq.…): is it the right cluster? See --kafka".to_owned(),
        Some(_) => "`tidemill dlq list` says which there are".to_owned(),
    });
    Err(Unknown { name: name.to_owned(), servers: servers.to_owned(), remedy })
}

/// That the topic is there which letters are sent to.
///
/// # Errors
/// Where it is not; names that are nearly that one are told.
pub fn takes_letters(name: &str, topics: &BTreeMap<String, i32>, servers: &str) -> Result<(), Unknown> {
    if topics.contains_key(name) {
        return Ok(());
    }
    let remedy = did_you_mean(&near(&[name], topics));
    let remedy = remedy.unwrap_or_else(|| "make it first, or give --to a topic that is there".to_owned());
    Err(Unknown { name: name.to_owned(), servers: servers.to_owned(), remedy })
}

fn did_you_mean(names: &[String]) -> Option<String> {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}

/// At most three topics that are nearly called one of these, the nearest first.
fn near(names: &[&str], topics: &BTreeMap<String, i32>) -> Vec<String> {
    let far = names[0].len().div_ceil(3).min(4);
    let distance = |known: &str| names.iter().map(|name| strsim::damerau_levenshtein(name, known)).min();
    let mut near: Vec<_> = topics.keys().filter_map(|known| Some((distance(known)?, known))).collect();
    near.retain(|(distance, _)| *distance <= far);
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, known)| known.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{known, takes_letters};

    #[test]
    fn a_name_that_no_topic_has_is_told_with_those_it_may_be() {
        let topics = ["dlq.raw-articles", "dlq.ticks", "raw-articles", "ticks"];
        let cases = [
            ("dlq.raw-articles", None),
            ("ticks", None),
            ("dlq.raw-artcles", Some("did you mean `dlq.raw-articles`?")),
            ("raw-artcles", Some("did you mean `dlq.raw-articles` or `raw-articles`?")),
            ("tick", Some("did you mean `dlq.ticks` or `ticks`?")),
            ("something-else", Some("`tidemill dlq list` says")),
        ];
        let topics = topics.map(|name| (name.to_owned(), 3)).into();
        for (name, expected) in cases {
            let said = known(name, &topics, "k:9092").err().map(|error| error.to_string());
            let right = match (&said, expected) {
                (None, None) => true,
                (Some(said), Some(expected)) => said.contains(expected) && said.contains("k:9092"),
                _ => false,
            };
            assert!(right, "{name}: {said:?}");
        }
        let letters_only = [("dlq.words".to_owned(), 3)].into();
        let said = known("words", &letters_only, "k:9092").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("did you mean `dlq.words`?"), "{said}");
        let said = known("words", &[].into(), "k:9092").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("no topics of dead letters") && said.contains("--kafka"), "{said}");
    }

    #[test]
    fn where_letters_go_is_no_topic_of_letters() {
        let topics = ["dlq.words", "ticks"].map(|name| (name.to_owned(), 3)).into();
        let cases = [
            ("ticks", None),
            ("tick", Some("there is no topic `tick` on k:9092: did you mean `ticks`?")),
            ("words", Some("there is no topic `words` on k:9092: make it first, or give --to a topic that is there")),
        ];
        for (name, expected) in cases {
            let said = takes_letters(name, &topics, "k:9092").err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{name}");
        }
    }
}
