//! What each fault does, and how it is mended.

use super::{
    groups::{Group, Seat, end},
    plan::{Fault, Round},
    stage::{Away, Stage},
};
use nix::sys::signal::Signal;
use std::time::Duration;

/// How far the clock jumps, in seconds.
const JUMP: i64 = 3_600;
/// Writes a second that a slow disk takes.
const SLOW: usize = 5;
/// How long a runner that has just started may take to join.
const JOINS: Duration = Duration::from_secs(3);

/// Has it happen, and mended; answers whom it met.
pub async fn strike(stage: &mut Stage, round: &Round) -> String {
    let pick = round.pick;
    match round.fault {
        Fault::Function => {
            let killed: usize = stage.groups.iter().map(|group| kill_functions(group, pick)).sum();
            stage.pass(round.lasts).await;
            format!("{killed} functions")
        }
        Fault::Runner => {
            for group in &mut stage.groups {
                let seat = pick % group.seats.len();
                group.seats[seat].kill().await;
            }
            stage.pass(round.lasts).await;
            for group in &mut stage.groups {
                let seat = pick % group.seats.len();
                group.seats[seat].start();
            }
            format!("runner {} of each group", pick % 2 + 1)
        }
        Fault::Zombie => {
            let signal = |stage: &Stage, signal| {
                let shared = stage.groups.iter().filter(|group| group.is_shared());
                shared.for_each(|group| group.seats[pick % 2].signal(signal));
            };
            signal(stage, Signal::SIGSTOP);
            stage.pass(round.lasts).await;
            signal(stage, Signal::SIGCONT);
            format!("runner {} of each shared group", pick % 2 + 1)
        }
        Fault::Cut => {
            stage.network.cut(true);
            stage.pass(round.lasts).await;
            stage.network.cut(false);
            "runner 2 of each shared group".to_owned()
        }
        Fault::Leader => {
            let broker = stage.brokers.leader(&stage.input, pick).await;
            kill_broker(stage, broker, round).await
        }
        Fault::Controller => {
            let broker = stage.brokers.controller();
            kill_broker(stage, broker, round).await
        }
        Fault::SlowDisk => {
            stage.flush_each(true).await;
            let broker = stage.brokers.leader(&stage.input, pick).await;
            let pid = stage.brokers.pid(broker).expect("the broker runs");
            stage.brokers.volume(broker).slow(pid, SLOW);
            stage.pass(round.lasts).await;
            stage.brokers.volume(broker).fast();
            stage.flush_each(false).await;
            format!("broker {}, {SLOW} writes/s", broker + 1)
        }
        Fault::FullDisk => {
            let broker = stage.brokers.leader(&stage.input, pick).await;
            stage.brokers.volume(broker).fill();
            stage.pass(round.lasts).await;
            let ended = stage.brokers.pid(broker).is_none();
            stage.brokers.volume(broker).free();
            start_again(stage, broker).await;
            format!("broker {}{}", broker + 1, if ended { ", it ended" } else { "" })
        }
        Fault::Redis => kill_service(stage, round, |stage| &stage.redis).await,
        Fault::S3 => kill_service(stage, round, |stage| &stage.s3).await,
        Fault::Forward => jump(stage, round, JUMP).await,
        Fault::Backward => jump(stage, round, -JUMP).await,
    }
}

/// Kills the function's processes of one of the group's runners.
fn kill_functions(group: &Group, pick: usize) -> usize {
    let functions = group.seats[pick % group.seats.len()].functions();
    functions.iter().for_each(end);
    functions.len()
}

async fn start_again(stage: &mut Stage, broker: usize) {
    let brokers = stage.brokers.clone();
    stage.beside(brokers.start_again(broker)).await;
}

async fn kill_broker(stage: &mut Stage, broker: usize, round: &Round) -> String {
    stage.brokers.kill(broker);
    stage.pass(round.lasts).await;
    start_again(stage, broker).await;
    format!("broker {}", broker + 1)
}

async fn kill_service(stage: &mut Stage, round: &Round, service: fn(&Stage) -> &Away) -> String {
    let daemon = &service(stage).daemon;
    daemon.signal(Signal::SIGKILL).expect("it can be killed");
    daemon.wait_until_silent();
    stage.pass(round.lasts).await;
    let service = service(stage);
    service.start();
    service.daemon.address.to_string()
}

/// A third runner joins each shared group; its clock jumps, and later back.
async fn jump(stage: &mut Stage, round: &Round, ahead: i64) -> String {
    let shared = stage.groups.iter().filter(|group| group.is_shared());
    let mut third: Vec<Seat> = shared.map(|group| group.with_clock(&stage.clock)).collect();
    stage.pass(JOINS).await;
    stage.clock.set(ahead);
    stage.pass(round.lasts).await;
    stage.clock.set(0);
    stage.pass(JOINS).await;
    for seat in &mut third {
        seat.stop().await;
    }
    "a third runner of each shared group".to_owned()
}
