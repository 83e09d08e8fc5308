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

/// That the topic is there.
///
/// # Errors
/// Where it is not; names that are nearly that one are told.
pub fn known(name: &str, topics: &BTreeMap<String, i32>, servers: &str) -> Result<(), Unknown> {
    if topics.contains_key(name) {
        return Ok(());
    }
    let near = near(name, topics);
    let quoted: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    let remedy = match (quoted.as_slice(), of_letters(topics).next()) {
        ([], None) => "it has no topics of dead letters (dlq.…): is it the right cluster? See --kafka".to_owned(),
        ([], Some(_)) => "`tidemill dlq list` says which there are".to_owned(),
        (some, _) => format!("did you mean {}?", some.join(" or ")),
    };
    Err(Unknown { name: name.to_owned(), servers: servers.to_owned(), remedy })
}

/// At most three names, the nearest first.
fn near<'a>(name: &str, topics: &'a BTreeMap<String, i32>) -> Vec<&'a str> {
    let letters_of = format!("{PREFIX}{name}");
    if let Some((letters, _)) = topics.get_key_value(&letters_of) {
        return vec![letters];
    }
    let distance =
        |known: &str| strsim::damerau_levenshtein(name, known).min(strsim::damerau_levenshtein(&letters_of, known));
    let mut near: Vec<_> = topics.keys().map(|known| (distance(known), known.as_str())).collect();
    near.retain(|(distance, _)| *distance <= name.len().div_ceil(3).min(4));
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

#[cfg(test)]
mod tests {
    use super::known;

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
}
