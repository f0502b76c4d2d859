// SPDX-License-Identifier: Apache-2.0
use std::io::Write;
use std::process::Command;
use std::thread;

use super::*;

#[test]
fn a4_a_configuration_may_come_through_a_fifo() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = {
        let path = path.clone();
        thread::spawn(move || {
            // Opening waits for the reader.
            let mut fifo = File::options().write(true).open(path).unwrap();
            fifo.write_all(br#"{"payload": {"kernel""#).unwrap();
            fifo.write_all(br#": "k"}}"#).unwrap();
        })
    };
    let config = read_file(&path).unwrap();
    assert_eq!(config.payload.kernel.unwrap(), Path::new("k"));
    writer.join().unwrap();
}
