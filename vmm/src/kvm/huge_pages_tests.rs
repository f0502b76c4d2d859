// SPDX-License-Identifier: Apache-2.0
use super::*;

const PAGE: u64 = 2 << 20;

#[test]
fn enough_pages_are_those_that_nobody_was_promised() {
    let pool = Pool { pages: 100, free: 80, reserved: 30, surplus_left: 0 };
    assert!(Pool::check(Some(pool), 50 * PAGE, PAGE).is_ok());
    let error = Pool::check(Some(pool), 50 * PAGE + 1, PAGE).unwrap_err().to_string();
    assert!(error.contains("needs 51 huge pages of 2M, 50 are free"), "{error}");
    assert!(error.contains("echo 101 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "{error}");
    assert!(Pool::check(Some(Pool { surplus_left: 1, ..pool }), 51 * PAGE, PAGE).is_ok());
}

#[test]
fn a_host_without_pages_of_that_size_is_told_so() {
    let error = Pool::check(None, 1 << 30, 1 << 30).unwrap_err().to_string();
    assert!(error.contains("has no huge pages of 1G") && error.contains("hugepagesz=1G"), "{error}");
}

#[test]
fn a_pool_is_read_as_the_kernel_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let pool = dir.path().join("hugepages-2048kB");
    fs::create_dir(&pool).unwrap();
    for (file, text) in [("nr_hugepages", "7\n"), ("free_hugepages", "5\n"), ("resv_hugepages", "2\n")] {
        fs::write(pool.join(file), text).unwrap();
    }
    fs::write(pool.join("nr_overcommit_hugepages"), "4\n").unwrap();
    fs::write(pool.join("surplus_hugepages"), "1\n").unwrap();
    let read = Pool::read_at(dir.path(), PAGE).unwrap();
    assert_eq!(read, Pool { pages: 7, free: 5, reserved: 2, surplus_left: 3 });
    assert_eq!(Pool::read_at(dir.path(), 1 << 30), None);
}
