// SPDX-License-Identifier: Apache-2.0
//! Exits made up in an ordinary mapping instead of a vCPU's.
use super::*;

const LENGTH: usize = 8192;

fn page() -> RunPage {
    RunPage::map_with(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, LENGTH).unwrap()
}

fn put<T>(page: &RunPage, offset: usize, value: T) {
    assert!(offset + size_of::<T>() <= LENGTH);
    let place = page.mapping.base.as_ptr().wrapping_add(offset).cast::<T>();
    // SAFETY: inside the mapping, as asserted; nobody else has it.
    unsafe { place.write_unaligned(value) }
}

fn with_exit<T>(reason: u32, union: T) -> RunPage {
    let page = page();
    put(&page, offset_of!(kvm_run, exit_reason), reason);
    put(&page, UNION, union);
    page
}

#[test]
fn size_of_port_access_is_not_lost() {
    let io = PortIo { direction: 1, size: 2, port: 0xc010, count: 3, data_offset: 4096 };
    let mut page = with_exit(KVM_EXIT_IO, io);
    put(&page, 4096, [1u8, 2, 3, 4, 5, 6, 7]);
    let expected = Exit::PortIo { port: 0xc010, size: 2, is_write: true, data: &mut [1, 2, 3, 4, 5, 6] };
    assert_eq!(page.exit(), expected);
}

#[test]
fn answer_to_a_port_read_lands_where_the_kernel_looks() {
    let io = PortIo { direction: 0, size: 1, port: 0x64, count: 1, data_offset: 4096 };
    let mut page = with_exit(KVM_EXIT_IO, io);
    let Exit::PortIo { is_write: false, data, .. } = page.exit() else { panic!("not a port read") };
    data[0] = 0x55;
    assert_eq!(page.read_byte(4096), 0x55);
}

impl RunPage {
    fn read_byte(&self, offset: usize) -> u8 {
        // SAFETY: inside the mapping of the test.
        unsafe { self.mapping.base.as_ptr().wrapping_add(offset).read() }
    }
}

#[test]
fn data_outside_the_mapping_is_no_slice() {
    for (count, data_offset) in [(1, LENGTH as u64), (4097, 4096), (u32::MAX, 4096), (1, u64::MAX), (1, 0)] {
        let io = PortIo { direction: 0, size: 1, port: 0, count, data_offset };
        assert_eq!(with_exit(KVM_EXIT_IO, io).exit(), Exit::Unsupported(KVM_EXIT_IO), "{count} at {data_offset}");
    }
}

#[test]
fn mmio_is_cut_to_its_length() {
    let mmio = Mmio { phys_addr: 0xfebf_0001, data: [1, 2, 3, 4, 5, 6, 7, 8], len: 3, is_write: 1 };
    let mut page = with_exit(KVM_EXIT_MMIO, mmio);
    assert_eq!(page.exit(), Exit::Mmio { address: 0xfebf_0001, is_write: true, data: &mut [1, 2, 3] });
    let mut page = with_exit(KVM_EXIT_MMIO, Mmio { len: u32::MAX, is_write: 0, ..mmio });
    let Exit::Mmio { is_write: false, data, .. } = page.exit() else { panic!("not a memory read") };
    assert_eq!(data.len(), 8);
}

#[test]
fn errors_carry_their_data() {
    let mut internal = Internal { suberror: 1, ndata: 2, ..Default::default() };
    internal.data[..3].copy_from_slice(&[7, 8, 9]);
    let expected = Exit::InternalError { suberror: 1, data: vec![7, 8] };
    assert_eq!(with_exit(KVM_EXIT_INTERNAL_ERROR, internal).exit(), expected);
    internal.ndata = 1000;
    let mut page = with_exit(KVM_EXIT_INTERNAL_ERROR, internal);
    let Exit::InternalError { data, .. } = page.exit() else { panic!("not an error") };
    assert_eq!(data.len(), 16);
    let fail = FailEntry { hardware_entry_failure_reason: 0x8000_0021, cpu: 3 };
    let expected = Exit::FailEntry { reason: 0x8000_0021, cpu: 3 };
    assert_eq!(with_exit(KVM_EXIT_FAIL_ENTRY, fail).exit(), expected);
    assert_eq!(with_exit(KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_RESET).exit(), Exit::SystemEvent(2));
}

#[test]
fn reasons_without_data() {
    assert_eq!(with_exit(KVM_EXIT_HLT, 0u8).exit(), Exit::Hlt);
    assert_eq!(with_exit(KVM_EXIT_SHUTDOWN, 0u8).exit(), Exit::Shutdown);
    assert_eq!(with_exit(KVM_EXIT_INTR, 0u8).exit(), Exit::Interrupted);
    assert_eq!(with_exit(KVM_EXIT_DEBUG, 0u8).exit(), Exit::Unsupported(KVM_EXIT_DEBUG));
}

#[test]
fn immediate_exit_outlives_the_page_and_is_the_kernels_byte() {
    let page = page();
    let flag = page.immediate_exit();
    flag.flag().store(1, Ordering::SeqCst);
    assert_eq!(page.read_byte(offset_of!(kvm_run, immediate_exit)), 1);
    drop(page);
    flag.clear();
    assert_eq!(flag.flag().load(Ordering::SeqCst), 0);
}
