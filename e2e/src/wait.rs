//! Waiting for something to be so, not for time to pass.

use std::time::{Duration, Instant};

/// The longest that anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(20);

/// What `condition` answers, once it does.
///
/// # Panics
/// When it does not within `patience`.
pub async fn until<T>(what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = condition().await {
            return answer;
        }
        assert!(started.elapsed() < patience, "waited {patience:?} in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}
