//! Conditions: a new one keeps the time of the last change of its status.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// Its type, from `reasons`.
    pub kind: &'static str,
    /// True, False, or (`None`) Unknown.
    pub status: Option<bool>,
    /// A word for machines.
    pub reason: &'static str,
    /// A sentence for people, with the remedy.
    pub message: String,
}

impl Say {
    /// It holds.
    #[must_use]
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(true), reason, message: message.into() }
    }

    /// It does not.
    #[must_use]
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(false), reason, message: message.into() }
    }
}

/// The conditions as they are now, and those whose status or reason is new.
#[must_use]
pub fn merge(before: &[Condition], say: Vec<Say>, generation: Option<i64>) -> (Vec<Condition>, Vec<Condition>) {
    let mut changed = Vec::new();
    let merged = say.into_iter().map(|say| {
        let status = match say.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let known = before.iter().find(|condition| condition.type_ == say.kind);
        let since = known.filter(|known| known.status == status).map(|known| known.last_transition_time.clone());
        let condition = Condition {
            type_: say.kind.to_owned(),
            status: status.to_owned(),
            reason: say.reason.to_owned(),
            message: say.message,
            observed_generation: generation,
            // Seconds, as the API server keeps them: what is read back compares equal.
            last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(Timestamp::now()))),
        };
        if known.is_none_or(|known| known.status != condition.status || known.reason != condition.reason) {
            changed.push(condition.clone());
        }
        condition
    });
    let merged = merged.collect();
    (merged, changed)
}

/// The same time without its fraction.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::{Say, merge};
    use tidemill_api::reasons::{INVALID_SPEC, READY};

    #[test]
    fn the_time_changes_with_the_status_only() {
        let (mut first, changed) = merge(&[], vec![Say::yes(READY, "Running", "one")], Some(1));
        assert_eq!(changed.len(), 1);
        first[0].last_transition_time.0 = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        let (second, changed) = merge(&first, vec![Say::yes(READY, "Running", "two")], Some(1));
        assert_eq!((second[0].last_transition_time.clone(), changed.len()), (first[0].last_transition_time.clone(), 0));
        let (third, changed) = merge(&second, vec![Say::no(READY, INVALID_SPEC, "three")], Some(2));
        assert_ne!(third[0].last_transition_time, first[0].last_transition_time);
        assert_eq!(changed, third);
    }
}
