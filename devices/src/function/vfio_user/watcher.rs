// SPDX-License-Identifier: Apache-2.0
//! A client's thread: notices that the server goes away, and serves its requests for memory
//! (DMA_READ, DMA_WRITE), which it makes when it cannot map the memory itself. It may reach what is
//! mapped for the function, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use super::channel::{self, Ready};
use super::connection::{Connection, ServerRequest};
use super::wire::{DmaAccess, Request, put_u64};
use crate::contract::threads::{self, ThreadKind};
use crate::function::{DmaRegion, eventfds};

/// What is mapped, by address.
pub(super) type Mapped = Arc<RwLock<BTreeMap<u64, DmaRegion>>>;

/// While a caller waits for a reply, it reads the socket; this thread looks again after that time.
const REST: Duration = Duration::from_millis(1);

/// The running thread. Dropping it ends the connection.
pub(super) struct Watcher {
    connection: Arc<Connection>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts the thread; it signals `removed` when the server goes away.
    pub(super) fn spawn(name: &str, connection: Arc<Connection>, mapped: Mapped, removed: EventFd) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (theirs, stop, label) = (connection.clone(), stopped.clone(), name.to_owned());
        let run = move || {
            watch(&theirs, &mapped);
            if !stop.load(Ordering::Acquire) {
                tracing::warn!(function = label, "the vfio-user server is gone");
                if let Err(error) = removed.write(1) {
                    tracing::error!(function = label, %error, "cannot signal that the function is gone");
                }
            }
        };
        let thread = threads::spawn(ThreadKind::VfioUser, "vfio-user", run)?;
        Ok(Self { connection, stopped, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.connection.lose();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a vfio-user client panicked");
        }
    }
}

/// Until the connection is over.
fn watch(connection: &Connection, mapped: &Mapped) {
    let wake = connection.wake();
    let mut reply = Vec::new();
    while !connection.is_lost() {
        while let Some(request) = connection.next_request() {
            reply.clear();
            let answer = serve(&request, mapped, &mut reply);
            if !request.header.no_reply()
                && let Err(error) = connection.reply(request.header, answer.map(|()| reply.as_slice()))
            {
                tracing::debug!(%error, "cannot reply to the server");
                return connection.lose();
            }
        }
        match channel::wait(connection.socket(), PollFlags::IN, Some(eventfds::borrow(wake)), None) {
            Ok(Ready::Stop) => drop(wake.read()),
            Ok(_) => match connection.read_idle() {
                Ok(true) => {}
                Ok(false) => std::thread::sleep(REST),
                Err(error) => {
                    tracing::debug!(?error, "the vfio-user connection ended");
                    return connection.lose();
                }
            },
            Err(error) => {
                tracing::error!(%error, "cannot wait for the vfio-user server");
                return connection.lose();
            }
        }
    }
}

/// Carries a request of the server out; the error is an errno.
fn serve(request: &ServerRequest, mapped: &Mapped, reply: &mut Vec<u8>) -> Result<(), i32> {
    let asked = Request::decode(request.header.command, &request.payload).map_err(|_| libc::EINVAL)?;
    match asked {
        Request::DmaRead(access) => {
            put_u64(reply, &[access.address, access.count]);
            let from = reply.len();
            // Bounded by the decoder.
            reply.resize(from + access.count as usize, 0);
            let room = reply.get_mut(from..).unwrap_or_default();
            transfer(mapped, access, |region, at, range| region.read_slice(room.get_mut(range)?, at).ok())
        }
        Request::DmaWrite(access, data) => {
            put_u64(reply, &[access.address, access.count]);
            transfer(mapped, access, |region, at, range| region.write_slice(data.get(range)?, at).ok())
        }
        _ => Err(libc::EOPNOTSUPP),
    }
}

/// Cuts an access at the borders of regions. An unmap waits until it is over.
fn transfer(
    mapped: &Mapped,
    access: DmaAccess,
    mut copy: impl FnMut(&DmaRegion, MemoryRegionAddress, std::ops::Range<usize>) -> Option<()>,
) -> Result<(), i32> {
    let mapped = mapped.read().unwrap_or_else(PoisonError::into_inner);
    let mut done = 0;
    while done < access.count {
        let address = access.address.checked_add(done).ok_or(libc::EFAULT)?;
        let (start, region) = mapped.range(..=address).next_back().ok_or(libc::EFAULT)?;
        let at = address - start;
        let left = region.len().checked_sub(at).filter(|left| *left != 0).ok_or(libc::EFAULT)?;
        let len = left.min(access.count - done);
        let range = done as usize..(done + len) as usize;
        copy(region, MemoryRegionAddress(at), range).ok_or(libc::EFAULT)?;
        done += len;
    }
    Ok(())
}
