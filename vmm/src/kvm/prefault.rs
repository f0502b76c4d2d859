// SPDX-License-Identifier: Apache-2.0
//! Allocates all guest memory before the guest starts, and reports its progress when that takes long.

use std::io;
use std::time::{Duration, Instant};

use devices::function::DmaRegion;
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::{KvmError, PAGE_SIZE};

/// Bytes had with one call: a fraction of a second.
const STEP: u64 = 256 << 20;
/// After this time the operator is told, and from then on as often.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says how far something long has come, once a second, and nothing if it takes less.
pub(super) struct Progress {
    total: u64,
    next: Instant,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, next: Instant::now() + PATIENCE }
    }

    /// Whether it is time to say that `done` bytes of the total are done.
    fn due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + PATIENCE;
        }
        due
    }

    fn tell(&mut self, done: u64) {
        if self.due(Instant::now()) {
            let (done, total) = (done >> 20, self.total >> 20);
            tracing::info!(target: "heirloom::progress", "guest memory: {done} of {total} MiB are allocated");
        }
    }
}

/// Has all pages of `regions`.
///
/// # Errors
/// When the host has no more memory to give.
pub(super) fn prefault(regions: &[DmaRegion]) -> Result<(), KvmError> {
    let mut progress = Progress::new(regions.iter().map(|region| region.len()).sum());
    let mut done = 0_u64;
    for region in regions {
        let mut offset = 0;
        while offset < region.len() {
            let step = STEP.min(region.len() - offset);
            populate(region, offset, step)?;
            (offset, done) = (offset + step, done.saturating_add(step));
            progress.tell(done);
        }
    }
    Ok(())
}

fn populate(region: &DmaRegion, offset: u64, size: u64) -> Result<(), KvmError> {
    let failed = |source| KvmError::Prefault { source };
    let (Ok(start), Ok(length)) = (usize::try_from(offset), usize::try_from(size)) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let address = region.as_ptr().wrapping_add(start);
    // SAFETY: `size` bytes from `offset` are inside the region, which is mapped; pages are made, and
    // those that exist keep their contents.
    if unsafe { libc::madvise(address.cast(), length, libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Linux before 5.14.
        error if error.raw_os_error() == Some(libc::EINVAL) => touch(region, offset, size),
        error => Err(failed(error)),
    }
}

/// Writes to each page. It is for memory that nobody has used: it is zero and stays so.
fn touch(region: &DmaRegion, offset: u64, size: u64) -> Result<(), KvmError> {
    for page in (offset..offset + size).step_by(PAGE_SIZE as usize) {
        region
            .write_obj(0_u8, MemoryRegionAddress(page))
            .map_err(|error| KvmError::Prefault { source: io::Error::other(error) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::GuestAddress;

    use crate::kvm::{GuestRam, RamOptions};

    /// Kilobytes of this process's mapping at `address` that are there.
    fn resident(address: u64) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some((start, rest)) = line.split_once('-')
                && let (Ok(start), Some((end, _))) = (u64::from_str_radix(start, 16), rest.split_once(' '))
            {
                inside = u64::from_str_radix(end, 16).is_ok_and(|end| (start..end).contains(&address));
            }
            if let (true, Some(rss)) = (inside, line.strip_prefix("Rss:")) {
                return rss.trim().trim_end_matches(" kB").parse().unwrap();
            }
        }
        0
    }

    #[test]
    fn all_pages_are_there_afterwards_by_either_way() {
        let ram = |size| {
            GuestRam::new(&[(GuestAddress(0), size)], RamOptions { shared: true, ..Default::default() }).unwrap()
        };
        let (first, second) = (ram(4 << 20), ram(3 << 20));
        let address = |ram: &GuestRam| ram.regions()[0].as_ptr() as u64;
        assert_eq!(resident(address(&first)), 0);
        prefault(first.regions()).unwrap();
        assert_eq!(resident(address(&first)), 4096);
        touch(&second.regions()[0], 0, 3 << 20).unwrap();
        assert_eq!(resident(address(&second)), 3072);
    }

    #[test]
    fn nothing_is_said_in_the_first_second_and_then_once_a_second() {
        let mut progress = Progress::new(1);
        let start = progress.next - PATIENCE;
        let at = |ms| start + Duration::from_millis(ms);
        let said: Vec<_> = [0, 500, 999, 1000, 1500, 1999, 2500, 2600].map(|ms| progress.due(at(ms))).into();
        assert_eq!(said, [false, false, false, true, false, false, true, false]);
    }
}
