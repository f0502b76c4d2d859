// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_folder_is_made_and_is_one_servers_at_a_time() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("sockets");
    let first = SocketDir::claim(&folder).unwrap();
    assert_eq!(first.socket("pf.sock"), folder.join("pf.sock"));
    assert!(matches!(SocketDir::claim(&folder), Err(SocketError::InUse { .. })));
    drop(first);
    assert!(!folder.exists(), "it was made, and is removed");
    std::fs::create_dir(&folder).unwrap();
    drop(SocketDir::claim(&folder).unwrap());
    assert!(folder.exists(), "it was there before");
    let missing = SocketDir::claim(&temporary.path().join("a/b"));
    assert!(matches!(missing, Err(SocketError::Folder { .. })), "parents are not made");
    std::fs::write(temporary.path().join("file"), "").unwrap();
    assert!(matches!(SocketDir::claim(&temporary.path().join("file")), Err(SocketError::Folder { .. })));
}
