// SPDX-License-Identifier: Apache-2.0
//! The thread with a software PF that is reset behind its driver.
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use devices::admin::{PfClient, PfCounts, PfDriver, WatchedVf};
use devices::contract::{NotifyAddress, Wait};
use devices::function::vfio_user::VfioUserFunction;
use devices::soft_pf::{NetBackend, SoftPf, VfSpec};

use super::*;
use crate::lifecycle::test_pf::ServedPf;
use devices::contract::mock::{PATIENCE, give_it_time, wait_until};

#[derive(Default)]
struct Client {
    lost: Mutex<Vec<String>>,
    returned: AtomicU64,
}

impl PfClient for Client {
    fn pf_lost(&self, reason: &str) {
        self.lost.lock().unwrap().push(reason.to_owned());
    }
    fn pf_returned(&self, notify: &[NotifyAddress]) {
        assert!(matches!(notify, [NotifyAddress::Member { .. }]));
        self.returned.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn h27_a_pf_reset_is_noticed_and_made_good_while_nobody_waits() {
    let soft = SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] }]);
    let soft = soft.unwrap();
    let cancelled = AtomicBool::new(false);
    let end = Instant::now() + PATIENCE;
    let driver = Arc::new(PfDriver::start(soft.pf(), end).unwrap());
    driver.enable_vfs(1).unwrap();
    driver.negotiate_commands(&Wait { deadline: end, cancelled: &cancelled }).unwrap();

    let client = Arc::new(Client::default());
    let vf = WatchedVf { member: NonZeroU16::MIN, function: soft.vf(0).unwrap(), client: client.clone() };
    let watchdog = PfWatchdog::new(driver.clone(), vec![vf]);
    let log = Arc::new(devices::admin::PfLog::default());
    let watchdog = watchdog.with_log(log.clone());
    let watch = PfWatch::with_interval(watchdog, Vec::new(), Duration::from_millis(5)).unwrap();
    give_it_time(Duration::from_millis(50));
    assert!(client.lost.lock().unwrap().is_empty(), "a PF that is well is left alone");

    soft.pf().reset().unwrap();
    wait_until("it is noticed and made good", || client.returned.load(Ordering::SeqCst) != 0);
    assert_eq!(driver.active_vfs().unwrap(), 1);
    assert_eq!(client.lost.lock().unwrap().len(), 1);
    assert!(driver.check().is_ok() && driver.supports_legacy());
    let lost = log.report();
    assert_eq!(lost.counts, PfCounts::new([1, 1, 0]));
    let loss = lost.last_loss.unwrap();
    assert!(loss.back_after_ms.is_some() && client.lost.lock().unwrap().contains(&loss.reason), "{loss:?}");
    drop(watch);
    soft.pf().reset().unwrap();
    give_it_time(Duration::from_millis(50));
    assert_eq!(client.lost.lock().unwrap().len(), 1, "nobody looks any more");
}

/// The server stops answering while the watch looks at its PF: the end of the machine does not wait for it.
#[test]
fn a3_the_end_does_not_wait_for_a_pf_that_does_not_answer() {
    /// Much longer than this test waits.
    const DEADLINE: Duration = Duration::from_secs(3600);
    let served = ServedPf::start();
    let end = Instant::now() + PATIENCE;
    let pf = VfioUserFunction::connect(served.name().as_ref(), DEADLINE).unwrap();
    let driver = Arc::new(PfDriver::start(Arc::new(pf), end).unwrap());
    let watchdog = PfWatchdog::new(driver.clone(), Vec::new());
    let watch = PfWatch::with_interval(watchdog, Vec::new(), Duration::from_millis(1)).unwrap();
    served.stall();
    wait_until("somebody looks at the PF", || served.keeps_somebody_waiting());
    let (told, ended) = mpsc::channel();
    thread::spawn(move || {
        drop(watch);
        told.send(()).unwrap();
    });
    let ended = ended.recv_timeout(PATIENCE);
    served.go_on();
    assert!(ended.is_ok(), "the end waits for the server");
    assert!(driver.check().is_err(), "the PF was given up");
}
