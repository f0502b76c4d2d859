// SPDX-License-Identifier: Apache-2.0
//! Names and descriptors that are taps and that are none. What needs real devices runs in a network namespace of its
//! own, in a process of its own: see [`in_a_namespace`].
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::*;

#[test]
fn names_that_could_make_a_device_are_refused() {
    for name in ["", "tap%d", "a/b", "..", "0123456789abcdef", "a b", "tap\0"] {
        assert!(matches!(open(name, false), Err(TapError::Name { .. })), "{name:?}");
    }
}

#[test]
fn a_device_that_is_not_there_or_is_no_tap_is_not_made() {
    let error = open("hl-no-such-tap", false).unwrap_err();
    assert!(matches!(error, TapError::Missing { .. }), "{error}");
    let error = open("lo", false).unwrap_err();
    // Without access to the driver it is not even asked.
    let expected = matches!(error, TapError::NotATap { .. } | TapError::Open { .. } | TapError::Driver { .. });
    assert!(expected, "{error}");
    assert!(!exists("hl-no-such-tap"));
    assert!(exists("lo"));
}

#[test]
fn what_is_passed_and_is_no_tap_is_refused() {
    let (socket, _peer) = UnixDatagram::pair().unwrap();
    for file in [File::open("/dev/null").unwrap(), File::from(std::os::fd::OwnedFd::from(socket))] {
        assert!(matches!(passed(file), Err(PassedError::NoTun)));
    }
}

/// Runs an ignored test of this program where the devices of `setup` are, or says why not.
fn in_a_namespace(setup: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let script = format!("{setup} && exec \"$0\" --ignored --exact --nocapture {test}");
    let usable = Command::new("unshare").args(["-n", "sh", "-c", "ip tuntap add hl0 mode tap"]).output();
    match usable {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return println!("SKIPPED: {test}: no tap can be made in a network namespace here: {why}");
        }
        Err(error) => return println!("SKIPPED: {test}: cannot run unshare: {error}"),
    }
    let output = Command::new("unshare").args(["-n", "sh", "-c", &script]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn driver() -> File {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap()
}

/// The header size that the device has now, asked of its driver.
#[allow(unsafe_code)]
fn header_size(file: &File) -> libc::c_int {
    let mut size = 0;
    // SAFETY: TUNGETVNETHDRSZ writes an int, and `size` is one that lives past the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETVNETHDRSZ as libc::Ioctl, &raw mut size) };
    assert_eq!(result, 0);
    size
}

#[test]
fn d13_taps_are_set_up_whatever_their_last_user_left() {
    let setup =
        "ip tuntap add hlkept mode tap && ip tuntap add hlmany mode tap multi_queue && ip tuntap add hltun mode tun";
    in_a_namespace(setup, "function::tap::tests::real_taps");
}

#[test]
#[ignore = "runs inside d13_taps_are_set_up_whatever_their_last_user_left"]
fn real_taps() {
    const NO_PI: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI;
    // As QEMU leaves a persistent tap.
    let last_user = driver();
    attach(&last_user, "hlkept", NO_PI | libc::IFF_VNET_HDR).unwrap();
    set_header_size(&last_user, 12).unwrap();
    drop(last_user);
    let again = driver();
    attach(&again, "hlkept", NO_PI | libc::IFF_VNET_HDR).unwrap();
    assert_eq!(header_size(&again), 12, "the driver keeps it, so this test tests something");
    // Passed as it is: looked at, and set up.
    let tap = passed(again).unwrap();
    assert!(tap.vnet_hdr);
    assert_eq!(header_size(&tap.file), 10);
    set_header_size(&tap.file, 12).unwrap();
    drop(tap);
    let tap = open("hlkept", true).unwrap();
    assert_eq!(header_size(&tap.file), 10);
    let busy = open("hlkept", true).unwrap_err();
    assert!(matches!(busy, TapError::Open { .. }), "{busy}");
    drop(tap);

    let plain = driver();
    attach(&plain, "hlkept", NO_PI).unwrap();
    assert!(!passed(plain).unwrap().vnet_hdr);
    let with_information = driver();
    attach(&with_information, "hlkept", libc::IFF_TAP).unwrap();
    let refused = passed(with_information);
    assert!(matches!(refused, Err(PassedError::PacketInformation)), "{refused:?}");
    let tun = driver();
    attach(&tun, "hltun", libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    assert!(matches!(passed(tun), Err(PassedError::Tun)));
    let one_of_many = driver();
    attach(&one_of_many, "hlmany", NO_PI | libc::IFF_MULTI_QUEUE).unwrap();
    assert!(!passed(one_of_many).unwrap().vnet_hdr);

    assert!(matches!(open("hlmany", true), Err(TapError::MultiQueue { .. })));
    assert!(matches!(open("hltun", true), Err(TapError::NotATap { .. })));
    assert!(matches!(open("lo", true), Err(TapError::NotATap { .. })));
}
