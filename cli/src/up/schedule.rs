//! The clock of a function with a schedule trigger.
//!
//! An event is written down before it is delivered and crossed out after its outcome is durable:
//! a run that ended in between delivers the same event, with the same id, first.

use anyhow::{Context, Result};
use chrono::{DateTime, SubsecRound, Utc};
use chrono_tz::Tz;
use croner::Cron;
use std::{fs, path::PathBuf, str::FromStr, time::Duration};
use tidemill_api::ScheduleTrigger;
use tidemill_runner::event::ScheduledEvent;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest the clock sleeps: it looks again, so that a changed system time is noticed.
const LOOK: Duration = Duration::from_secs(20);

/// The clock of one function.
#[derive(Debug)]
pub struct Clock {
    function: String,
    cron: Cron,
    zone: Tz,
    file: PathBuf,
}

/// How far the clock has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// An event waits for its outcome.
    pub due: bool,
    /// Events whose outcome is durable, in this run.
    pub done: u64,
}

impl Clock {
    /// The clock of `function` (`namespace/name`), with its pending event in `file`.
    ///
    /// # Errors
    /// When cron or time zone are not understood, which a checked manifest's are.
    pub fn new(function: String, schedule: &ScheduleTrigger, file: PathBuf) -> Result<Self> {
        let cron =
            Cron::from_str(&schedule.cron).with_context(|| format!("`{}` is not a cron expression", schedule.cron))?;
        let zone: Tz =
            schedule.time_zone.parse().ok().with_context(|| format!("`{}` is not a time zone", schedule.time_zone))?;
        Ok(Self { function, cron, zone, file })
    }

    /// Fires at once, then by the schedule, until `stop`.
    ///
    /// `admin` is the address of a replica that is ready, as it comes and goes.
    ///
    /// # Errors
    /// When the pending event cannot be written down.
    pub async fn run(
        self,
        admin: watch::Receiver<Option<String>>,
        progress: watch::Sender<Progress>,
        stop: CancellationToken,
    ) -> Result<()> {
        let mut due =
            self.pending()?.unwrap_or_else(|| ScheduledEvent::at(&self.function, Utc::now().trunc_subsecs(0)));
        loop {
            fs::write(&self.file, serde_json::to_vec(&due)?)
                .with_context(|| format!("failed to write {}", self.file.display()))?;
            progress.send_modify(|progress| progress.due = true);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = deliver(&due, admin.clone()) => {}
            }
            fs::remove_file(&self.file).with_context(|| format!("failed to remove {}", self.file.display()))?;
            info!(function = self.function, event = due.id, time = due.time, "schedule event done");
            progress.send_modify(|progress| *progress = Progress { due: false, done: progress.done + 1 });
            let next = self.next()?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = until(next) => {}
            }
            due = ScheduledEvent::at(&self.function, next);
        }
    }

    fn next(&self) -> Result<DateTime<Utc>> {
        let now = Utc::now().with_timezone(&self.zone);
        Ok(self.cron.find_next_occurrence(&now, false)?.with_timezone(&Utc))
    }

    fn pending(&self) -> Result<Option<ScheduledEvent>> {
        match fs::read(&self.file) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(event) => Ok(Some(event)),
                Err(error) => {
                    // Cut off by a crash while it was written: it was never delivered.
                    warn!(file = %self.file.display(), %error, "a pending event is not understood and begins anew");
                    Ok(None)
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", self.file.display())),
        }
    }
}

async fn until(time: DateTime<Utc>) {
    while let Ok(left) = (time - Utc::now()).to_std() {
        sleep(left.min(LOOK)).await;
    }
}

/// Posts the event until its outcome is durable.
async fn deliver(event: &ScheduledEvent, mut admin: watch::Receiver<Option<String>>) {
    let client = reqwest::Client::new();
    loop {
        let address = admin.wait_for(Option::is_some).await.map(|address| address.clone().unwrap_or_default());
        let Ok(address) = address else {
            // The run has ended: its stop ends this too.
            return std::future::pending().await;
        };
        match client.post(format!("http://{address}/schedule")).json(event).send().await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => warn!(status = %response.status(), "the schedule event is not done yet"),
            Err(error) => warn!(%error, "the schedule event did not reach its runner"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}
