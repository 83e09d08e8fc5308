//! Pauses between attempts at what time may heal: brokers or S3 that do not answer.

use crate::pipeline::Unsettled;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The longest pause.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Each is twice as long as the one before, up to the longest.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Pauses {
    /// How long the next one is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.0
    }

    /// Waits for it.
    ///
    /// # Errors
    /// When told to stop meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> Result<(), Unsettled> {
        tokio::select! {
            () = stop.cancelled() => return Err(Unsettled::Stopped),
            () = sleep(self.0) => {}
        }
        self.0 = (self.0 * 2).min(LONGEST);
        Ok(())
    }
}
