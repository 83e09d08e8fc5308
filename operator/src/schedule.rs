//! The clock of functions with a schedule trigger.
//!
//! A firing is written into the status before it is delivered (`pendingScheduleTime`) and crossed
//! out after its outcome is durable (`lastScheduleTime`): whoever becomes leader delivers a
//! pending one again, with the same id, and the runner knows an id it has done. Firings that were
//! due while nobody kept the clock are told, and the latest of them is made up for.

use crate::{
    context::{Context, key_of},
    function::{
        Error,
        build::ADMIN_PORT,
        status::{self, is_ready},
        validate::Validated,
    },
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use parking_lot::Mutex;
use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};
use tidemill_api::{Function, FunctionStatus, ScheduleTrigger, reasons};
use tidemill_runner::event::ScheduledEvent;
use tracing::{info, warn};

/// How long a firing with all its attempts may take before it is posted again.
const LONGEST_FIRING: Duration = Duration::from_secs(6 * 3_600);
/// The longest until the clock is looked at again: a changed system time is noticed.
const LOOK: Duration = Duration::from_secs(60);
/// Firings that are counted as missed, at most.
const COUNTED: usize = 100;

/// Firings under way: by function, the time fired and whether its outcome is durable.
#[derive(Default)]
pub struct Firings(Mutex<HashMap<String, (String, bool)>>);

impl Firings {
    /// Forgets a function that is gone.
    pub fn remove(&self, function: &str) {
        self.0.lock().remove(function);
    }

    fn begin(&self, function: &str, time: &str) -> bool {
        let mut all = self.0.lock();
        if all.get(function).is_some_and(|(known, _)| known == time) {
            return false;
        }
        all.insert(function.to_owned(), (time.to_owned(), false));
        true
    }

    fn end(&self, function: &str, time: &str, done: bool) {
        let mut all = self.0.lock();
        if done {
            all.insert(function.to_owned(), (time.to_owned(), true));
        } else {
            all.remove(function);
        }
    }

    fn is_done(&self, function: &str, time: &str) -> bool {
        self.0.lock().get(function).is_some_and(|(known, done)| known == time && *done)
    }
}

/// How the clock stands.
#[derive(Clone, Debug)]
pub struct Tick {
    /// The status as it is now: the watch may tell it later.
    pub status: FunctionStatus,
    /// A firing waits for its outcome.
    pub due: bool,
    /// When to look again.
    pub look_again: Duration,
}

/// Looks at the clock: notes a firing that is due, delivers the one that is noted, crosses out
/// the one that is done.
///
/// # Errors
/// When the status cannot be written: then nothing is fired.
pub async fn tick(
    function: &Function,
    trigger: &ScheduleTrigger,
    validated: &Validated,
    context: &Arc<Context>,
) -> Result<Tick, Error> {
    let key = key_of(function);
    let clock = Clock::of(trigger);
    let now = Utc::now();
    let mut status = function.status.clone().unwrap_or_default();
    if let Some(pending) = &status.pending_schedule_time
        && context.firings.is_done(&key, pending)
    {
        info!(function = key, time = pending, "schedule event done");
        status.last_schedule_time = status.pending_schedule_time.take();
        // It stays known as done: the next look may still see the status from before.
        status::patch(function, &status, context).await?;
    }
    if status.pending_schedule_time.is_none() {
        let since = status.last_schedule_time.as_deref().and_then(parse).or_else(|| created(function)).unwrap_or(now);
        let due = clock.between(since, now);
        if let Some((latest, missed)) = due.split_last() {
            if !missed.is_empty() {
                let note = missed_note(missed, latest);
                context.event(function, true, reasons::MISSED_RUNS, note).await;
            }
            status.pending_schedule_time = Some(text(latest));
            status::patch(function, &status, context).await?;
        }
    }
    deliver(&key, &status, validated, context);
    let until = clock.next(now).and_then(|next| (next - Utc::now()).to_std().ok()).unwrap_or(LOOK);
    let due = status.pending_schedule_time.is_some();
    let cooldown = validated.plan.scaling.cooldown.get();
    let look_again = until.min(if due { Duration::from_secs(1) } else { cooldown.max(Duration::from_secs(1)) });
    Ok(Tick { status, due, look_again: look_again.min(LOOK) + Duration::from_millis(5) })
}

/// Posts the pending event to a pod that is ready, once at a time.
fn deliver(key: &str, status: &FunctionStatus, validated: &Validated, context: &Arc<Context>) {
    let Some(pending) = &status.pending_schedule_time else { return };
    let Some(due) = parse(pending) else { return };
    let pods = context.stores.pods_of(&validated.plan.namespace, &validated.plan.name);
    let ready = pods.iter().filter(|pod| is_ready(pod));
    let Some(address) = ready.filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()).next() else { return };
    if !context.firings.begin(key, pending) {
        return;
    }
    let event = ScheduledEvent::at(key, due);
    let (key, pending, context) = (key.to_owned(), pending.clone(), context.clone());
    tokio::spawn(async move {
        let request = context.http.post(format!("http://{address}:{ADMIN_PORT}/schedule")).timeout(LONGEST_FIRING);
        let answer = request.json(&event).send().await;
        let done = match answer {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                warn!(function = key, status = %answer.status(), "the schedule event is not done yet");
                false
            }
            Err(error) => {
                warn!(function = key, %error, "the schedule event did not reach its runner");
                false
            }
        };
        context.firings.end(&key, &pending, done);
        context.triggers.function(&key);
    });
}

fn missed_note(missed: &[DateTime<Utc>], latest: &DateTime<Utc>) -> String {
    let count = if missed.len() >= COUNTED { format!("{COUNTED} or more") } else { missed.len().to_string() };
    format!(
        "{count} firings since {} were missed while nobody kept the clock; the one of {} is made up for",
        missed.first().map(text).unwrap_or_default(),
        text(latest)
    )
}

fn created(function: &Function) -> Option<DateTime<Utc>> {
    parse(&function.metadata.creation_timestamp.as_ref()?.0.to_string())
}

fn parse(time: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.to_utc())
}

fn text(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// A cron expression in a time zone; both were checked.
struct Clock(Option<(Cron, Tz)>);

impl Clock {
    fn of(trigger: &ScheduleTrigger) -> Self {
        Self(Cron::from_str(&trigger.cron).ok().zip(trigger.time_zone.parse().ok()))
    }

    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (cron, zone) = self.0.as_ref()?;
        let next = cron.find_next_occurrence(&after.with_timezone(zone), false).ok()?;
        Some(next.to_utc())
    }

    /// Firings after `since`, up to and with `until`: the first [`COUNTED`] and the last.
    fn between(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut times: Vec<DateTime<Utc>> = Vec::new();
        let mut at = since;
        while let Some(next) = self.next(at).filter(|next| *next <= until) {
            if times.len() > COUNTED {
                times.pop();
            }
            times.push(next);
            at = next;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNTED, Clock, parse, text};
    use tidemill_api::ScheduleTrigger;

    fn check(cron: &str, zone: &str, since: &str, until: &str, expected: &[&str]) {
        let trigger: ScheduleTrigger =
            serde_json::from_value(serde_json::json!({"cron": cron, "timeZone": zone})).expect("a trigger");
        let times = Clock::of(&trigger).between(parse(since).expect("a time"), parse(until).expect("a time"));
        assert_eq!(times.iter().map(text).collect::<Vec<_>>(), expected, "{cron} {zone}");
    }

    #[test]
    fn firings_follow_cron_in_its_time_zone() {
        let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z");
        check("*/5 * * * *", "UTC", from, to, &["2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"]);
        check("*/5 * * * *", "UTC", from, "2026-01-01T00:04:59Z", &[]);
        check("0 9 * * *", "Asia/Seoul", from, "2026-01-02T01:00:00Z", &["2026-01-02T00:00:00Z"]);
        // The clock of New York jumps from 2 to 3 on 8 March 2026: 9 o'clock comes an hour earlier.
        let spring = ["2026-03-07T14:00:00Z", "2026-03-08T13:00:00Z"];
        check("0 9 * * *", "America/New_York", "2026-03-07T00:00:00Z", "2026-03-09T00:00:00Z", &spring);
    }

    #[test]
    fn many_missed_firings_cost_no_memory_and_keep_the_latest() {
        let trigger: ScheduleTrigger =
            serde_json::from_value(serde_json::json!({"cron": "* * * * *"})).expect("a trigger");
        let day = Clock::of(&trigger)
            .between(parse("2026-01-01T00:00:00Z").expect("a time"), parse("2026-01-02T00:00:00Z").expect("a time"));
        assert_eq!((day.len(), text(&day[COUNTED])), (COUNTED + 1, "2026-01-02T00:00:00Z".to_owned()));
    }
}
