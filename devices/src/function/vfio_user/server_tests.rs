// SPDX-License-Identifier: Apache-2.0
//! Tests of a server on a path.

use std::os::unix::fs::PermissionsExt;

use super::super::VfioUserFunction;
use super::super::testing::{PATIENCE, eventually, mock_function};
use super::*;
use crate::bus::Width;
use crate::contract::mock::give_it_time;
use crate::function::shared::shared_region;
use crate::function::{Configuration, Dma, FunctionError, Named};

#[test]
fn one_client_after_the_other_and_each_finds_the_function_reset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vf0.sock");
    let fake = mock_function();
    let server = Server::spawn(fake.clone(), Server::bind(&path).unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for round in 1..=5 {
        let function = VfioUserFunction::connect(&path, PATIENCE).unwrap();
        assert_eq!(function.name(), path.display().to_string());
        assert!(fake.mapped().is_empty(), "nothing is left of the client before");
        assert_eq!(fake.state().resets, round - 1);
        function.dma_map(&shared_region(0, 0x1000).unwrap()).unwrap();
        assert_eq!(fake.mapped().len(), 1);
        drop(function);
        eventually("the reset", || fake.state().resets == round);
    }
    server.stop();
    assert!(!path.exists());
    let error = VfioUserFunction::connect(&path, PATIENCE).unwrap_err();
    assert!(matches!(error, FunctionError::Io { .. }), "{error}");
}

#[test]
fn a_second_client_waits_and_its_deadline_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _server = Server::spawn(mock_function(), Server::bind(&path).unwrap()).unwrap();
    let first = VfioUserFunction::connect(&path, PATIENCE).unwrap();
    let error = VfioUserFunction::connect(&path, Duration::from_millis(200)).unwrap_err();
    let late = matches!(&error, FunctionError::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut);
    assert!(late, "{error}");
    first.config_read(0, Width::B4).unwrap();
    let next = std::thread::spawn(move || VfioUserFunction::connect(&path, PATIENCE).map(drop));
    give_it_time(Duration::from_millis(50));
    drop(first);
    next.join().unwrap().unwrap();
}

/// A silent client of one function does not hold up another's.
#[test]
fn functions_do_not_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().join("a"), folder.path().join("b")];
    let start = |path: &PathBuf| Server::spawn(mock_function(), Server::bind(path).unwrap()).unwrap();
    let _servers: Vec<_> = paths.iter().map(start).collect();
    let mut silent = UnixStream::connect(&paths[0]).unwrap();
    std::io::Write::write_all(&mut silent, &[1, 0, 1]).unwrap();
    let other = VfioUserFunction::connect(&paths[1], PATIENCE).unwrap();
    for _ in 0..100 {
        other.config_read(0, Width::B4).unwrap();
    }
    silent.set_nonblocking(true).unwrap();
    let still = std::io::Read::read(&mut silent, &mut [0]).unwrap_err();
    assert_eq!(still.kind(), io::ErrorKind::WouldBlock, "the other one is waited for, and nobody waits for that");
}

#[test]
fn paths_in_use_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    fs::write(&path, "text").unwrap();
    assert!(matches!(Server::bind(&path), Err(ServerError::InTheWay { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"text");
    fs::remove_file(&path).unwrap();
    let live = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(ServerError::InUse { .. })));
    drop(live);
    assert!(path.exists(), "left behind, as by a process that was killed");
    let _again = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&folder.path().join("no/s")), Err(ServerError::Listen { .. })));
}

/// Not even for a moment, whatever the umask: `accept` is the first that could use it.
#[test]
fn f23_the_socket_is_private_from_bind_on() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("s");
    // The mode that the file is made with, seen by whoever looks all the time.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                seen.extend(fs::symlink_metadata(&path).map(|data| data.permissions().mode() & 0o777));
            }
            seen
        });
        for _ in 0..2000 {
            drop(Server::bind(&path).unwrap());
            fs::remove_file(&path).unwrap();
        }
        drop(Server::bind(&path).unwrap());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut seen = watch.join().unwrap();
        seen.insert(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777);
        seen
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0o600]);
}
