// SPDX-License-Identifier: Apache-2.0
//! A worker that is busy, full or gone, played by hand. It counts what it was asked to do.
use std::thread;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK};

use super::*;
use devices::contract::mock::{PATIENCE, wait_until};

type Worker = u32;

fn queue() -> (Queue<Worker>, Receiver<Job<Worker>>) {
    Queue::new(Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).unwrap()))
}

/// Counts, and answers with the count.
fn once(worker: &mut Worker) -> Result<Worker, Fault> {
    *worker += 1;
    Ok(*worker)
}

#[test]
fn a_request_wakes_the_worker_and_gets_its_answer() {
    let (queue, arrivals) = queue();
    let wake = Arc::clone(&queue.wake);
    let client = thread::spawn(move || queue.ask(PATIENCE, |w| once(w).map(|n| format!("net{n}"))));
    let job = arrivals.recv().unwrap();
    while wake.read().is_err() {
        thread::yield_now();
    }
    job(&mut 6);
    assert_eq!(client.join().unwrap(), Ok("net7".to_owned()));
}

#[test]
fn a_request_that_nobody_takes_is_given_up_and_never_carried_out() {
    let (queue, arrivals) = queue();
    let error = queue.ask(Duration::from_millis(30), once).unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded);
    assert!(error.message.contains("was not started"), "{error}");
    let mut worker = 0;
    arrivals.recv().unwrap()(&mut worker);
    assert_eq!(worker, 0);
}

#[test]
fn a_request_that_takes_too_long_goes_on_and_its_client_is_told() {
    let (queue, arrivals) = queue();
    let (go_on, wait) = mpsc::channel::<()>();
    let work = move |worker: &mut Worker| {
        wait.recv().unwrap();
        once(worker)
    };
    let client = thread::spawn(move || queue.ask(Duration::from_millis(200), work));
    let job = arrivals.recv().unwrap();
    let worker = thread::spawn(move || {
        let mut worker = 0;
        // Nobody listens when it answers: that must not stop the worker.
        job(&mut worker);
        worker
    });
    let error = client.join().unwrap().unwrap_err();
    assert!(error.message.contains("continues"), "{error}");
    go_on.send(()).unwrap();
    assert_eq!(worker.join().unwrap(), 1);
}

#[test]
fn more_requests_than_there_is_room_for_are_refused_at_once() {
    let (queue, _arrivals) = queue();
    let clients: Vec<_> = (0..MAX_WAITING)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || queue.ask(Duration::from_secs(3), once).unwrap_err().code)
        })
        .collect();
    wait_until("there is no room", || queue.ask(Duration::from_millis(1), once).unwrap_err().code == Code::Busy);
    let refused = |code| matches!(code, Code::DeadlineExceeded | Code::Busy);
    assert!(clients.into_iter().all(|client| refused(client.join().unwrap())));
}

#[test]
fn a_worker_that_is_gone_answers_with_that() {
    let (queue, arrivals) = queue();
    let other = queue.clone();
    let client = thread::spawn(move || other.ask(PATIENCE, once));
    // Taken, and lost with the worker.
    let job = arrivals.recv().unwrap();
    drop((job, arrivals));
    assert_eq!(client.join().unwrap().unwrap_err().code, Code::Unavailable);
    assert_eq!(queue.ask(PATIENCE, once).unwrap_err().code, Code::Unavailable);
}
