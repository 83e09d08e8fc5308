//! What each fault does, how it is mended, and what shows that it happened: a fault that met nobody would
//! show nothing.

use super::{
    groups::{Group, Seat, end},
    plan::{Fault, Round},
    stage::{Away, LOOK, Stage},
};
use crate::process::{self, Process};
use nix::sys::signal::Signal;
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// How far the clock jumps, in seconds.
const JUMP: i64 = 3_600;
/// Writes a second that a slow disk takes.
const SLOW: usize = 5;
/// How long a runner that has just started may take to join.
const JOINS: Duration = Duration::from_secs(3);
/// How long the kernel may take to do what it was told, on a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// How long programs may take to do what follows from a fault.
const FOLLOWS: Duration = Duration::from_secs(60);

/// What came of a fault.
#[derive(Clone, Debug)]
pub struct Struck {
    /// Whom it met.
    pub victim: String,
    /// What would have shown that it happened, and was not seen.
    pub unseen: Vec<String>,
}

/// Has it happen, and mended.
pub async fn strike(stage: &mut Stage, round: &Round) -> Struck {
    let mut strike = Strike { stage, round, unseen: Vec::new() };
    let victim = match round.fault {
        Fault::Function => strike.functions().await,
        Fault::Runner => strike.runners().await,
        Fault::Zombie => strike.zombies().await,
        Fault::Cut => strike.network().await,
        Fault::Leader => strike.leader().await,
        Fault::Controller => strike.controller().await,
        Fault::SlowDisk => strike.slow_disk().await,
        Fault::FullDisk => strike.full_disk().await,
        Fault::Redis => strike.service(|stage| &stage.redis).await,
        Fault::S3 => strike.service(|stage| &stage.s3).await,
        Fault::Forward => strike.clock(JUMP, |[ahead, _]| ahead).await,
        Fault::Backward => strike.clock(-JUMP, |[_, behind]| behind).await,
    };
    Struck { victim, unseen: strike.unseen }
}

struct Strike<'a> {
    stage: &'a mut Stage,
    round: &'a Round,
    unseen: Vec<String>,
}

impl Strike<'_> {
    fn expect(&mut self, seen: bool, what: impl Into<String>) {
        if !seen {
            self.unseen.push(what.into());
        }
    }

    /// Expects something of each group that has two runners, soon.
    async fn expect_of_shared(&mut self, what: &str, seen: impl Fn(&Group) -> bool) {
        let missing = |stage: &Stage| {
            let groups = stage.groups.iter().filter(|group| group.is_shared() && !seen(group));
            groups.map(|group| group.mode.name()).collect::<Vec<_>>()
        };
        if !self.stage.sees(SOON, |stage| missing(stage).is_empty()).await {
            let missing = missing(self.stage);
            self.unseen.extend(missing.into_iter().map(|group| format!("{what} of `{group}`")));
        }
    }

    async fn functions(&mut self) -> String {
        let pick = self.round.pick;
        let of = |group: &Group| group.seats[pick % group.seats.len()].functions();
        // A runner that has just started has none yet.
        self.stage.sees(FOLLOWS, |stage| stage.groups.iter().all(|group| !of(group).is_empty())).await;
        let kill = |group: &Group| (group.mode.name(), of(group).into_iter().filter(end).collect::<Vec<Process>>());
        let killed: Vec<_> = self.stage.groups.iter().map(kill).collect();
        let mut count = 0;
        for (group, functions) in killed {
            count += functions.len();
            let ended = |_: &Stage| functions.iter().all(|function| process::state(function.pid).is_none());
            let ended = !functions.is_empty() && self.stage.sees(SOON, ended).await;
            self.expect(ended, format!("the end of a function of `{group}`"));
        }
        self.stage.pass(self.round.lasts).await;
        format!("{count} functions")
    }

    async fn runners(&mut self) -> String {
        let pick = self.round.pick;
        self.stage.tend();
        let mut alive = Vec::new();
        for group in &mut self.stage.groups {
            let seat = pick % group.seats.len();
            if !group.seats[seat].kill().await {
                alive.push(format!("the end of runner {} of `{}`", seat + 1, group.mode.name()));
            }
        }
        self.unseen.extend(alive);
        self.stage.pass(self.round.lasts).await;
        for group in &mut self.stage.groups {
            let seat = pick % group.seats.len();
            group.seats[seat].start();
        }
        format!("runner {} of each group", pick % 2 + 1)
    }

    async fn zombies(&mut self) -> String {
        let seat = self.round.pick % 2;
        let signal = |stage: &Stage, signal| {
            let shared = stage.groups.iter().filter(|group| group.is_shared());
            shared.for_each(|group| group.seats[seat].signal(signal));
        };
        let runner = format!("runner {}", seat + 1);
        self.stage.tend();
        signal(self.stage, Signal::SIGSTOP);
        self.expect_of_shared(&format!("a stopped {runner}"), |group| group.seats[seat].is_stopped()).await;
        self.stage.pass(self.round.lasts).await;
        let still = |group: &Group| !group.is_shared() || group.seats[seat].is_stopped();
        let still = self.stage.groups.iter().all(still);
        self.expect(still, format!("each {runner} as it stands still to the end"));
        signal(self.stage, Signal::SIGCONT);
        self.expect_of_shared(&format!("a {runner} that goes on"), |group| group.seats[seat].goes_on()).await;
        format!("{runner} of each shared group")
    }

    async fn network(&mut self) -> String {
        let begun = Instant::now();
        self.stage.network.cut(true);
        let reached = self.stage.network.reaches().await;
        self.expect(!reached.contains(&true), "each broker out of reach of the second runners");
        self.stage.pass(self.round.lasts.saturating_sub(begun.elapsed())).await;
        self.stage.network.cut(false);
        let mended = Instant::now();
        let back = loop {
            let back = !self.stage.network.reaches().await.contains(&false);
            if back || mended.elapsed() > FOLLOWS {
                break back;
            }
            self.stage.pass(LOOK).await;
        };
        self.expect(back, "each broker in reach of the second runners afterwards");
        "runner 2 of each shared group".to_owned()
    }

    async fn leader(&mut self) -> String {
        let broker = self.stage.brokers.leader(&self.stage.input, self.round.pick).await;
        self.broker(broker).await
    }

    async fn controller(&mut self) -> String {
        // After another fault they may be electing one.
        let found = OnceLock::new();
        let seen = |stage: &Stage| stage.brokers.controller().is_some_and(|elected| found.set(elected).is_ok());
        self.stage.sees(FOLLOWS, seen).await;
        let (epoch, broker) = *found.get().expect("a controller was elected");
        let victim = self.broker(broker).await;
        let later = |stage: &Stage| stage.brokers.controller().is_some_and(|(later, _)| later > epoch);
        let elected = self.stage.sees(FOLLOWS, later).await;
        self.expect(elected, "another election of a controller");
        victim
    }

    /// Kills a broker.
    async fn broker(&mut self, broker: usize) -> String {
        let victim = format!("broker {}", broker + 1);
        let before = self.stage.brokers.pid(broker);
        self.stage.brokers.kill(broker);
        let away = self.stage.sees(SOON, |stage| stage.brokers.is_away(broker)).await;
        self.expect(before.is_some() && away, format!("the end of {victim}"));
        self.stage.pass(self.round.lasts).await;
        self.start_again(broker).await;
        let after = self.stage.brokers.pid(broker);
        self.expect(after.is_some() && after != before, format!("another process of {victim}"));
        victim
    }

    async fn start_again(&mut self, broker: usize) {
        let brokers = self.stage.brokers.clone();
        self.stage.beside(brokers.start_again(broker)).await;
    }

    async fn slow_disk(&mut self) -> String {
        self.stage.flush_each(true).await;
        let broker = self.stage.brokers.leader(&self.stage.input, self.round.pick).await;
        let pid = self.stage.brokers.pid(broker).expect("the broker runs");
        self.stage.brokers.volume(broker).slow(pid, SLOW);
        self.stage.pass(self.round.lasts).await;
        let volume = self.stage.brokers.volume(broker);
        let (slow, writes) = (volume.is_slow_for(pid, SLOW), volume.writes());
        volume.fast();
        self.stage.flush_each(false).await;
        let victim = format!("broker {}", broker + 1);
        self.expect(slow, format!("{victim} with a limit of {SLOW} writes a second"));
        // Then some had to wait.
        self.expect(writes > SLOW, format!("more writes by {victim} than its disk takes in a second"));
        format!("{victim}, {SLOW} writes/s, {writes} asked for")
    }

    async fn full_disk(&mut self) -> String {
        let broker = self.stage.brokers.leader(&self.stage.input, self.round.pick).await;
        let before = self.stage.brokers.pid(broker);
        self.stage.brokers.volume(broker).fill();
        self.stage.pass(self.round.lasts).await;
        let ended = self.stage.sees(FOLLOWS, |stage| stage.brokers.is_away(broker)).await;
        self.stage.brokers.volume(broker).free();
        self.start_again(broker).await;
        let victim = format!("broker {}", broker + 1);
        self.expect(before.is_some() && ended, format!("the end of {victim} by itself"));
        victim
    }

    async fn service(&mut self, service: fn(&Stage) -> &Away) -> String {
        let daemon = service(self.stage).daemon.clone();
        let before = daemon.pid();
        daemon.signal(Signal::SIGKILL).expect("it can be killed");
        daemon.wait_until_silent();
        self.stage.pass(self.round.lasts).await;
        let refused = before.is_some() && daemon.pid().is_none() && !daemon.listens();
        service(self.stage).start();
        self.expect(refused, format!("a connection refused at {}", daemon.address));
        daemon.address.to_string()
    }

    /// A third runner joins each shared group; its clock jumps, and later back.
    async fn clock(&mut self, ahead: i64, caused: fn([usize; 2]) -> usize) -> String {
        let caused = |stage: &Stage| caused(stage.outlets.came.lock().clocks);
        let before = caused(self.stage);
        let shared = self.stage.groups.iter().filter(|group| group.is_shared());
        let mut third: Vec<Seat> = shared.map(|group| group.with_clock(&self.stage.clock)).collect();
        self.stage.pass(JOINS).await;
        self.stage.clock.set(ahead);
        self.stage.pass(self.round.lasts).await;
        let worked = self.stage.sees(FOLLOWS, |stage| caused(stage) > before).await;
        self.expect(worked, "a record from a runner whose clock is wrong");
        self.stage.clock.set(0);
        self.stage.pass(JOINS).await;
        for seat in &mut third {
            seat.stop().await;
        }
        "a third runner of each shared group".to_owned()
    }
}
