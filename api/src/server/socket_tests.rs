// SPDX-License-Identifier: Apache-2.0
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn private_from_the_start_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let (bound, _listener) = BoundSocket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn the_mode_is_there_before_the_name() {
    // What bind gives the file is the socket's own mode, not one that is corrected afterwards.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bound-only");
    let fd = new_socket().unwrap();
    bind(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_live_socket_is_left_alone_and_a_dead_one_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let (bound, listener) = BoundSocket::bind(&path).unwrap();
    let error = BoundSocket::bind(&path).unwrap_err();
    assert!(matches!(error, SocketError::Live(_)) && error.to_string().contains("in use"), "{error}");
    assert!(path.exists());
    // As after SIGKILL: nobody listens, the name is still there.
    drop(listener);
    std::mem::forget(bound);
    let (again, _listener) = BoundSocket::bind(&path).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    drop(again);
}

#[test]
fn somebody_elses_file_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(BoundSocket::bind(&path).unwrap_err(), SocketError::NotASocket(_)));
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    let path = folder.path().join("api.sock");
    let (bound, _listener) = BoundSocket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    drop(bound);
    assert!(path.exists());
}

#[test]
fn paths_that_cannot_be() {
    let long = format!("/tmp/{}", "x".repeat(200));
    let error = BoundSocket::bind(Path::new(&long)).unwrap_err();
    assert!(matches!(error, SocketError::TooLong { length: 205 }), "{error}");
    let error = BoundSocket::bind(Path::new("/nonexistent/folder/s")).unwrap_err();
    assert!(matches!(error, SocketError::System { .. }), "{error}");
}

#[test]
fn of_many_that_find_a_dead_socket_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    for _ in 0..20 {
        let (bound, listener) = BoundSocket::bind(&path).unwrap();
        drop(listener);
        std::mem::forget(bound);
        let results: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = (0..4).map(|_| scope.spawn(|| BoundSocket::bind(&path))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
        assert!(UnixStream::connect(&path).is_ok());
    }
}
