// SPDX-License-Identifier: Apache-2.0
use std::sync::mpsc;

use super::*;

/// Any work.
struct Work(Box<dyn FnOnce() + Send>);

impl Task for Work {
    fn run(self) {
        (self.0)();
    }
}

fn work(run: impl FnOnce() + Send + 'static) -> Work {
    Work(Box::new(run))
}

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn tasks_run_at_once_up_to_the_limit_and_all_end() {
    let pool = IoPool::new("pool".to_owned());
    let (said, heard) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    for number in 0..20 {
        let (said, wait) = (said.clone(), Arc::clone(&wait));
        let task = work(move || {
            said.send(number).unwrap();
            let _ = wait.lock().unwrap().recv();
        });
        assert!(pool.run(task).is_ok());
    }
    let mut begun: Vec<i32> = (0..MOST_THREADS).map(|_| heard.recv_timeout(PATIENCE).unwrap()).collect();
    begun.sort_unstable();
    assert_eq!(begun, (0..MOST_THREADS as i32).collect::<Vec<_>>());
    assert!(heard.try_recv().is_err(), "no more than the limit");
    drop(release);
    for _ in MOST_THREADS..20 {
        heard.recv_timeout(PATIENCE).unwrap();
    }
    pool.stop();
    assert_eq!(pool.wait(Instant::now() + PATIENCE), 0);
}

#[test]
fn a_thread_that_does_not_end_is_left_behind() {
    let pool = IoPool::new("stuck".to_owned());
    let (release, wait) = mpsc::channel::<()>();
    let (said, heard) = mpsc::channel();
    let begun = said.clone();
    let stuck = work(move || {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    assert!(pool.run(stuck).is_ok());
    heard.recv_timeout(PATIENCE).unwrap();
    pool.stop();
    assert_eq!(pool.wait(Instant::now()), 1);
    assert!(pool.run(work(|| ())).is_err(), "it is stopped");
    drop(release);
    assert_eq!(pool.wait(Instant::now() + PATIENCE), 0);
}

#[test]
fn a_task_that_panics_takes_its_thread_along_and_no_other() {
    let pool = IoPool::new("panic".to_owned());
    assert!(pool.run(work(|| panic!("on purpose"))).is_ok());
    let (said, heard) = mpsc::channel();
    assert!(pool.run(work(move || said.send(()).unwrap())).is_ok());
    heard.recv_timeout(PATIENCE).unwrap();
    pool.stop();
    assert_eq!(pool.wait(Instant::now() + PATIENCE), 0);
}
