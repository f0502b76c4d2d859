// SPDX-License-Identifier: Apache-2.0
//! Tests of `received`: each kind of file, and a real FUSE file whose server never answers.

use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};
use rustix::io::dup;

use super::*;
use crate::function::fuse::FuseDisk;

fn memfd(seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("received", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// Whether it is taken for memory, lasting memory, an eventfd.
fn kinds(fd: &OwnedFd) -> (bool, bool, bool) {
    let received = || Received::from(dup(fd).unwrap());
    (received().memory().is_some(), received().lasting_memory().is_some(), received().eventfd().is_some())
}

#[test]
fn what_a_descriptor_is() {
    assert_eq!(kinds(&memfd(SealFlags::SHRINK)), (true, true, false));
    assert_eq!(kinds(&memfd(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)), (true, true, false));
    assert_eq!(kinds(&memfd(SealFlags::GROW)), (true, false, false));
    assert_eq!(kinds(&memfd_create("unsealed", MemfdFlags::CLOEXEC).unwrap()), (true, false, false));
    let disk = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert_eq!(kinds(&disk.into()), (false, false, false), "a file of the disk that this is built on");
    let event = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
    let event = crate::function::eventfds::borrow(&event).try_clone_to_owned().unwrap();
    assert_eq!(kinds(&event), (false, false, true));
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(kinds(&reader.into()), (false, false, false));
}

#[test]
fn b5_a_descriptor_whose_file_system_never_answers_holds_nobody_up() {
    let fuse = match FuseDisk::silent(1 << 20) {
        Ok(fuse) => fuse,
        Err(why) => return println!("SKIPPED: b5_a_descriptor_whose_file_system_never_answers_holds_nobody_up: {why}"),
    };
    let fd = OwnedFd::from(fuse.file.try_clone().unwrap());
    let (done, is_done) = mpsc::channel();
    let look = std::thread::spawn(move || {
        let kinds = kinds(&fd);
        drop(Received::from(fd));
        done.send(kinds).unwrap();
    });
    let kinds = is_done.recv_timeout(Duration::from_secs(20));
    // Its end is that of all who wait for it.
    drop(fuse);
    look.join().unwrap();
    assert_eq!(kinds, Ok((false, false, false)));
}
