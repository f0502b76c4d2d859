// SPDX-License-Identifier: Apache-2.0
//! Mappings into a guest that is not there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::contract::function::MappableArea;
use crate::contract::platform::{GuestMapper, Mapping};

type Pages = Arc<Mutex<BTreeMap<u64, u64>>>;

/// A mapper that, as KVM does, refuses what overlaps.
#[derive(Debug, Default)]
pub struct MockMapper {
    pages: Pages,
    calls: AtomicU64,
}

impl MockMapper {
    /// `size` bytes at `address` are RAM.
    pub fn with_ram(address: u64, size: u64) -> Self {
        Self { pages: Arc::new(Mutex::new(BTreeMap::from([(address, size)]))), calls: AtomicU64::new(0) }
    }

    /// Address and size of all that is there, RAM too.
    pub fn pages(&self) -> Vec<(u64, u64)> {
        self.pages.lock().unwrap().iter().map(|(address, size)| (*address, *size)).collect()
    }

    /// How often something was to be mapped.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl GuestMapper for MockMapper {
    fn map(&self, address: u64, area: &MappableArea) -> io::Result<Box<dyn Mapping>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let end = address.checked_add(area.size).ok_or(io::ErrorKind::InvalidInput)?;
        let mut pages = self.pages.lock().unwrap();
        if pages.iter().any(|(base, size)| *base < end && address < base + size) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        pages.insert(address, area.size);
        Ok(Box::new(MockMapping { pages: self.pages.clone(), address }))
    }
}

struct MockMapping {
    pages: Pages,
    address: u64,
}

impl Mapping for MockMapping {}

impl Drop for MockMapping {
    fn drop(&mut self) {
        self.pages.lock().unwrap().remove(&self.address);
    }
}
