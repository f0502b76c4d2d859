// SPDX-License-Identifier: Apache-2.0
//! When the watchdog acts, with the clock in the test's hands.
use std::sync::Mutex;

use super::*;
use crate::admin::faulty::{Fault, FaultyPf, Rule};
use crate::admin::scripted_pf::{Quirks, ScriptedPf};
use crate::admin::scripts::legacy_device;
use crate::admin::{AdminChannel, Command, PfCounts};
use crate::contract::mock::{PATIENCE, wait_until};
use crate::soft_pf::{NetBackend, SoftPf, VfSpec};

static NEVER: AtomicBool = AtomicBool::new(false);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Client(Mutex<Vec<String>>);

impl Client {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl PfClient for Client {
    fn pf_lost(&self, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
    fn pf_returned(&self, notify: &[NotifyAddress]) {
        self.0.lock().unwrap().push(format!("{notify:?}"));
    }
}

struct Bench {
    watchdog: PfWatchdog,
    driver: Arc<PfDriver>,
    clients: [Arc<Client>; 2],
    pf: Arc<FaultyPf>,
    soft: SoftPf,
    now: Instant,
}

fn bench() -> Bench {
    let spec = |n| VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, n] };
    let soft = SoftPf::new("soft", vec![spec(1), spec(2)]).unwrap();
    let pf = FaultyPf::new(soft.pf()).unwrap();
    let now = Instant::now();
    let driver = Arc::new(PfDriver::start(pf.clone(), now + PATIENCE).unwrap());
    driver.enable_vfs(2).unwrap();
    driver.negotiate_commands(&Wait { deadline: now + PATIENCE, cancelled: &NEVER }).unwrap();
    pf.seen();
    let clients: [Arc<Client>; 2] = Default::default();
    let watched = |(index, client): (usize, &Arc<Client>)| WatchedVf {
        member: NonZeroU16::new(index as u16 + 1).unwrap(),
        function: soft.vf(index).unwrap(),
        client: client.clone(),
    };
    let watchdog = PfWatchdog::new(driver.clone(), clients.iter().enumerate().map(watched).collect());
    Bench { watchdog, driver, clients, pf, soft, now }
}

impl Bench {
    fn tick_after(&mut self, time: Duration) -> PfHealth {
        self.now += time;
        self.watchdog.tick_at(self.now)
    }

    /// Waits for the end of an attempt, without letting the clock go on.
    fn wait(&mut self) -> PfHealth {
        let attempt = &self.watchdog.attempt;
        wait_until("the end of the attempt", || attempt.as_ref().is_none_or(|attempt| attempt.is_finished()));
        self.tick_after(Duration::ZERO)
    }

    fn command(&self, limit: Duration) -> Result<(), AdminError> {
        let command = Command { opcode: 3, group_type: 1, member_id: 1, data: &[18] };
        self.driver.execute(&command, &mut [0], &Wait { deadline: Instant::now() + limit, cancelled: &NEVER })
    }
}

#[test]
fn a_pf_that_is_well_gets_no_command_and_no_restart() {
    let mut bench = bench();
    for _ in 0..1000 {
        assert_eq!(bench.tick_after(SECOND), PfHealth::Running);
    }
    assert!(bench.pf.seen().is_empty() && bench.clients.iter().all(|client| client.told().is_empty()));
    assert_eq!(bench.watchdog.log.report(), crate::admin::PfReport::default());
}

#[test]
fn f13_everybody_is_told_of_loss_and_return_once() {
    let mut bench = bench();
    for round in 1..=3 {
        bench.soft.pf().reset().unwrap();
        assert_eq!(bench.tick_after(SECOND), PfHealth::Lost);
        assert_eq!(bench.wait(), PfHealth::Running);
        for client in &bench.clients {
            let told = client.told();
            assert!(told[0].contains("all ones"), "{told:?}");
            assert_eq!(told[1..], ["[Member { bar: 2, offset: 12288 }]"]);
        }
        assert_eq!((bench.watchdog.restarts(), bench.command(PATIENCE)), (round, Ok(())));
    }
}

#[test]
fn h27_a_pf_that_stays_away_is_tried_less_and_less_often() {
    let mut bench = bench();
    bench.pf.add(Rule::nth(0, Fault::RemoveGone));
    assert!(bench.command(SECOND / 50).is_err());
    let mut attempts = Vec::new();
    for second in 0..200 {
        assert_eq!(bench.tick_after(SECOND), PfHealth::Lost);
        if bench.watchdog.attempt.is_some() {
            attempts.push(second);
            bench.wait();
        }
    }
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    assert!(bench.clients.iter().all(|client| client.told().len() == 1), "told once");
    bench.pf.put_back();
    bench.tick_after(60 * SECOND);
    assert_eq!(bench.wait(), PfHealth::Running);
    assert_eq!(bench.command(PATIENCE), Ok(()));
    let log = bench.watchdog.log.report();
    assert_eq!(log.counts, PfCounts::new([1, 1, 9]));
    let loss = log.last_loss.unwrap();
    assert!(loss.back_after_ms.is_some() && loss.reason.contains("gone"), "{loss:?}");
    // The next loss is a new one.
    bench.pf.add(Rule::nth(0, Fault::RemoveGone));
    assert!(bench.command(SECOND / 50).is_err());
    let attempts = (0..8).filter(|_| {
        bench.tick_after(SECOND);
        let attempt = bench.watchdog.attempt.is_some();
        bench.wait();
        attempt
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [0, 1, 3, 7]);
    let log = bench.watchdog.log.report();
    assert_eq!(log.counts, PfCounts::new([2, 1, 13]));
    let second = log.last_loss.unwrap();
    assert_eq!(second.back_after_ms, None);
    assert!(second.after_ms >= loss.after_ms + 260_000, "the test's clock went on by 260 s");
}

#[test]
fn f12_silence_is_a_loss_after_10_s_and_an_answer_ends_it() {
    let mut bench = bench();
    bench.tick_after(SECOND);
    bench.pf.add(Rule::nth(0, Fault::NeverReply));
    assert_eq!(bench.command(SECOND / 50), Err(AdminError::Timeout));
    for _ in 0..9 {
        assert_eq!(bench.tick_after(SECOND), PfHealth::Running);
    }
    // Another command is answered: one lost command is no lost PF.
    assert_eq!(bench.command(PATIENCE), Ok(()));
    for _ in 0..10 {
        assert_eq!(bench.tick_after(SECOND), PfHealth::Running);
    }
    assert_eq!(bench.tick_after(SECOND), PfHealth::Lost);
    assert_eq!(bench.wait(), PfHealth::Running);
    assert!(bench.clients[0].told()[0].contains(SILENT));
    assert_eq!((bench.command(PATIENCE), bench.pf.violations()), (Ok(()), 0));
    assert_eq!(bench.driver.channel().counts().get(QueueCounter::Quarantined), 0);
}

#[test]
fn the_end_of_the_watchdog_ends_an_attempt() {
    let device = ScriptedPf::new(Quirks::default(), legacy_device());
    let driver = Arc::new(PfDriver::start(device.clone(), Instant::now() + PATIENCE).unwrap());
    device.set_status(0x4f);
    device.reset_stuck.store(true, Ordering::Relaxed);
    let begin = || {
        let mut watchdog = PfWatchdog::new(driver.clone(), Vec::new());
        assert_eq!(watchdog.tick(), PfHealth::Lost);
        watchdog
    };
    drop(begin());
    assert_eq!(Arc::strong_count(&driver), 1, "its thread has ended");
    let mut watchdog = begin();
    let attempt = watchdog.attempt.take().unwrap();
    drop(watchdog);
    let error = attempt.join().unwrap().unwrap_err();
    assert!(error.to_string().contains(&AdminError::Cancelled.to_string()), "not its deadline: {error}");
}
