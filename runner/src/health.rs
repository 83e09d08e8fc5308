//! How the function's processes are, together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tidemill_service::admin::Readiness;
use tokio::sync::watch;

/// How the function's processes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// None has asked for work yet.
    #[default]
    Starting,
    /// At least one has asked for work.
    Ready,
    /// None has asked for work for long; one may yet.
    Slow(String),
    /// The last start failed, with this reason.
    Failing(String),
}

/// What each of several processes says of itself, as one: while one of them works, the function does.
pub struct Vitals {
    /// So many have asked for work and live.
    at_work: AtomicUsize,
    health: watch::Sender<Health>,
    readiness: Readiness,
}

impl Vitals {
    /// None has asked for work yet.
    #[must_use]
    pub fn new(health: watch::Sender<Health>, readiness: Readiness) -> Self {
        Self { at_work: AtomicUsize::new(0), health, readiness }
    }

    /// One asks for work for the first time.
    pub fn begins(self: &Arc<Self>) -> AtWork {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        self.health.send_replace(Health::Ready);
        self.readiness.set(true);
        AtWork(self.clone())
    }

    /// One takes long to ask for work.
    pub fn is_slow(&self, reason: String) {
        if self.at_work.load(Ordering::Acquire) == 0 {
            self.health.send_replace(Health::Slow(reason));
        }
    }

    /// One could not start.
    pub fn fails(&self, reason: String) {
        if self.at_work.load(Ordering::Acquire) == 0 {
            self.health.send_replace(Health::Failing(reason));
            self.readiness.set(false);
        }
    }
}

/// Kept for as long as a process lives that has asked for work.
pub struct AtWork(Arc<Vitals>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, Vitals};
    use std::sync::Arc;
    use tidemill_service::admin::Readiness;
    use tokio::sync::watch;

    #[test]
    fn what_one_cannot_matters_once_no_other_works() {
        let (sender, health) = watch::channel(Health::Starting);
        let readiness = Readiness::default();
        let vitals = Arc::new(Vitals::new(sender, readiness.clone()));
        let failing = || Health::Failing("exit code 1".to_owned());
        vitals.fails("exit code 1".to_owned());
        assert_eq!((health.borrow().clone(), readiness.get()), (failing(), false));
        let (one, other) = (vitals.begins(), vitals.begins());
        vitals.is_slow("slow".to_owned());
        vitals.fails("exit code 1".to_owned());
        assert_eq!((health.borrow().clone(), readiness.get()), (Health::Ready, true));
        drop(one);
        vitals.fails("exit code 1".to_owned());
        assert_eq!((health.borrow().clone(), readiness.get()), (Health::Ready, true), "the other works");
        drop(other);
        vitals.is_slow("slow".to_owned());
        assert_eq!((health.borrow().clone(), readiness.get()), (Health::Slow("slow".to_owned()), true));
        vitals.fails("exit code 1".to_owned());
        assert_eq!((health.borrow().clone(), readiness.get()), (failing(), false));
    }
}
