//! One function process as the Runtime API sees it: a state machine without I/O.
//!
//! It decides how each call is answered (as AWS's emulator does: 202, 400 for an unknown request
//! id, 403 for a call in the wrong state, 413 for an answer that is too large) and guarantees
//! that each invocation handed out has exactly one outcome.

use crate::failure::Failure;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The largest answer, in bytes: 6 MiB, with AWS's 100 bytes of grace.
pub const LARGEST_ANSWER: usize = (6 << 20) + 100;

/// What came of an invocation: the answer's body, or why there is none.
pub type Outcome = Result<Bytes, Failed>;

/// Why an invocation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The function said so, or answered too much.
    #[error(transparent)]
    Function(Failure),
    /// It took too long and was killed.
    #[error("no answer within {0:?}: the process was killed")]
    Timeout(Duration),
    /// Its process ended before it answered.
    #[error("the process ended before it answered: {0}")]
    Crash(String),
    /// The runner stops: the function is not to blame, and the records will be read again.
    #[error("the runner is stopping")]
    Stopping,
}

impl Failed {
    /// A short name for headers and metrics.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Function(failure) => &failure.kind,
            Self::Timeout(_) => "Timeout",
            Self::Crash(_) => "Crash",
            Self::Stopping => "Stopping",
        }
    }
}

/// How a call of the function process is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// 202.
    Accepted,
    /// 400.
    UnknownRequest,
    /// 403.
    WrongState,
    /// 413.
    TooLarge,
    /// 400: an answer that is neither in one piece nor streamed.
    UnknownMode,
}

/// What the process sent as an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    Whole(Bytes),
    /// More than is allowed: at least so many bytes.
    TooLarge(usize),
    /// An error, beside or in place of an answer.
    Failed(Failure),
    /// A beginning, and why no more.
    CutOff(String),
}

/// The state of one function process.
#[derive(Debug)]
pub enum State {
    /// It has started and not yet asked for work.
    Initializing,
    /// It waits for work, or is about to ask for it.
    Idle,
    /// It works.
    Busy(InFlight),
    /// It said that it could not start.
    InitFailed(String),
    /// It has ended.
    Ended,
}

/// An invocation that was handed out.
#[derive(Debug)]
pub struct InFlight {
    /// Its request id.
    pub id: String,
    /// When it was.
    pub since: Instant,
    /// Who waits for its outcome.
    pub outcome: oneshot::Sender<(Outcome, Duration)>,
    /// Why its answer ended too early, if it did.
    pub cut_off: Option<String>,
}

impl State {
    /// The process asks for work: whether it may have some.
    pub fn ask(&mut self) -> Result<(), Reply> {
        match self {
            Self::Initializing | Self::Idle => {
                *self = Self::Idle;
                Ok(())
            }
            Self::Busy(_) | Self::InitFailed(_) | Self::Ended => Err(Reply::WrongState),
        }
    }

    /// Work was handed out; answers whether the process may have it. Where it may not, whoever waits for the
    /// outcome hears that nobody has had it.
    #[must_use]
    pub fn hand_out(&mut self, in_flight: InFlight) -> bool {
        let may = matches!(self, Self::Idle);
        if may {
            *self = Self::Busy(in_flight);
        }
        may
    }

    /// The process is to have no more work; answers whether it has none.
    pub fn retire(&mut self) -> bool {
        let at_rest = !matches!(self, Self::Busy(_));
        if at_rest {
            *self = Self::Ended;
        }
        at_rest
    }

    /// The process answers.
    pub fn response(&mut self, id: &str, sent: Sent) -> Reply {
        match sent {
            Sent::Whole(body) => self.settle(id, Ok(body)),
            Sent::Failed(failure) => self.error(id, failure),
            Sent::TooLarge(length) => {
                let message = format!("the answer has {length} bytes; at most {LARGEST_ANSWER} are allowed");
                match self.error(id, Failure::new("Function.ResponseSizeTooLarge", message)) {
                    Reply::Accepted => Reply::TooLarge,
                    other => other,
                }
            }
            Sent::CutOff(reason) => match self {
                Self::Busy(in_flight) if in_flight.id == id => {
                    in_flight.cut_off = Some(reason);
                    Reply::Accepted
                }
                Self::Busy(_) => Reply::UnknownRequest,
                _ => Reply::WrongState,
            },
        }
    }

    /// An invocation whose answer was cut off has failed; answers whether there was one.
    ///
    /// Until then its process may end, which says more than that a connection did.
    pub fn give_up(&mut self) -> bool {
        let Self::Busy(InFlight { cut_off: Some(reason), .. }) = self else { return false };
        let failure = Failure::new("Runtime.TruncatedResponse", format!("the answer was cut off: {reason}"));
        if let Self::Busy(in_flight) = std::mem::replace(self, Self::Idle) {
            in_flight.give(Err(Failed::Function(failure)));
        }
        true
    }

    /// The process says that an invocation failed.
    pub fn error(&mut self, id: &str, failure: Failure) -> Reply {
        self.settle(id, Err(Failed::Function(failure)))
    }

    /// The process says that it cannot start.
    pub fn init_error(&mut self, failure: &Failure) -> Reply {
        if !matches!(self, Self::Initializing) {
            return Reply::WrongState;
        }
        *self = Self::InitFailed(failure.to_string());
        Reply::Accepted
    }

    /// The process has ended, or must: what was in flight has failed.
    pub fn end(&mut self, failed: Failed) {
        if let Self::Busy(in_flight) = std::mem::replace(self, Self::Ended) {
            in_flight.give(Err(failed));
        }
    }

    /// The request id in flight.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Busy(in_flight) => Some(&in_flight.id),
            _ => None,
        }
    }

    fn settle(&mut self, id: &str, outcome: Outcome) -> Reply {
        match std::mem::replace(self, Self::Idle) {
            Self::Busy(in_flight) if in_flight.id == id => {
                in_flight.give(outcome);
                Reply::Accepted
            }
            Self::Idle => Reply::WrongState,
            other @ Self::Busy(_) => {
                *self = other;
                Reply::UnknownRequest
            }
            other => {
                *self = other;
                Reply::WrongState
            }
        }
    }
}

impl InFlight {
    fn give(self, outcome: Outcome) {
        // The one who asked may have been stopped meanwhile: then its records are read again.
        drop(self.outcome.send((outcome, self.since.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::{Failed, InFlight, Outcome, Reply, Sent, State};
    use crate::failure::Failure;
    use bytes::Bytes;
    use std::time::{Duration, Instant};
    use tokio::sync::oneshot::{self, error::TryRecvError};

    fn busy(id: &str) -> (State, oneshot::Receiver<(Outcome, Duration)>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = State::Initializing;
        state.ask().expect("a new process may ask");
        let in_flight = InFlight { id: id.to_owned(), since: Instant::now(), outcome: sender, cut_off: None };
        assert!(state.hand_out(in_flight));
        (state, receiver)
    }

    fn failure() -> Failure {
        Failure::new("E", "m")
    }

    #[test]
    fn an_answer_reaches_the_one_who_asked_once() {
        let (mut state, mut outcome) = busy("a");
        assert_eq!(state.response("a", Sent::Whole(Bytes::from_static(b"1"))), Reply::Accepted);
        assert_eq!(outcome.try_recv().map(|(outcome, _)| outcome), Ok(Ok(Bytes::from_static(b"1"))));
        assert_eq!(state.response("a", Sent::Whole(Bytes::new())), Reply::WrongState);
        assert_eq!(state.ask(), Ok(()));
    }

    #[test]
    fn calls_in_the_wrong_state_change_nothing() {
        let (mut state, mut outcome) = busy("a");
        assert_eq!(state.ask(), Err(Reply::WrongState));
        assert_eq!(state.init_error(&failure()), Reply::WrongState);
        assert_eq!(state.response("b", Sent::Whole(Bytes::new())), Reply::UnknownRequest);
        assert_eq!(state.error("b", failure()), Reply::UnknownRequest);
        assert!(outcome.try_recv().is_err(), "still in flight");
        assert_eq!(state.error("a", failure()), Reply::Accepted);
        assert!(matches!(outcome.try_recv(), Ok((Err(Failed::Function(_)), _))));

        let mut state = State::Initializing;
        assert_eq!(state.response("a", Sent::Whole(Bytes::new())), Reply::WrongState);
        assert_eq!(state.init_error(&failure()), Reply::Accepted);
        assert_eq!(state.ask(), Err(Reply::WrongState));
    }

    #[test]
    fn a_large_answer_fails_the_invocation() {
        let (mut state, mut outcome) = busy("a");
        assert_eq!(state.response("a", Sent::TooLarge(7_000_000)), Reply::TooLarge);
        let Ok((Err(Failed::Function(Failure { kind, .. })), _)) = outcome.try_recv() else { panic!("failed") };
        assert_eq!(kind, "Function.ResponseSizeTooLarge");
    }

    #[test]
    fn an_answer_that_was_cut_off_fails_by_the_end_of_its_process_or_else_by_itself() {
        let cut_off = || Sent::CutOff("end of file".to_owned());
        let (mut state, mut outcome) = busy("a");
        assert_eq!(state.response("b", cut_off()), Reply::UnknownRequest);
        assert!(!state.give_up());
        assert!(outcome.try_recv().is_err(), "still in flight");
        assert_eq!(state.response("a", cut_off()), Reply::Accepted);
        state.end(Failed::Crash("exit status: 1".to_owned()));
        assert!(matches!(outcome.try_recv(), Ok((Err(Failed::Crash(_)), _))));

        let (mut state, mut outcome) = busy("a");
        assert_eq!(state.response("a", cut_off()), Reply::Accepted);
        assert!(state.give_up());
        assert_eq!(state.ask(), Ok(()));
        let Ok((Err(Failed::Function(Failure { kind, .. })), _)) = outcome.try_recv() else { panic!("failed") };
        assert_eq!(kind, "Runtime.TruncatedResponse");
    }

    #[test]
    fn the_end_of_the_process_fails_what_was_in_flight() {
        let (mut state, mut outcome) = busy("a");
        state.end(Failed::Crash("exit status: 1".to_owned()));
        assert!(matches!(outcome.try_recv(), Ok((Err(Failed::Crash(_)), _))));
        let (sender, mut late) = oneshot::channel();
        let in_flight = InFlight { id: "b".to_owned(), since: Instant::now(), outcome: sender, cut_off: None };
        assert!(!state.hand_out(in_flight));
        assert_eq!(late.try_recv(), Err(TryRecvError::Closed), "nobody has had it");
        assert_eq!(state.ask(), Err(Reply::WrongState));
    }

    #[test]
    fn who_retires_ends_what_it_has_and_gets_no_more() {
        let (mut state, mut outcome) = busy("a");
        assert!(!state.retire());
        assert_eq!(state.response("a", Sent::Whole(Bytes::new())), Reply::Accepted);
        assert!(outcome.try_recv().is_ok());
        assert!(state.retire());
        assert_eq!(state.ask(), Err(Reply::WrongState));
    }
}
