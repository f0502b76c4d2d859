// SPDX-License-Identifier: Apache-2.0
//! Descriptors that can carry frames, and others.
use std::os::unix::net::{UnixDatagram, UnixStream};

use super::*;

fn checked(descriptor: impl Into<OwnedFd>) -> Result<NetSource, ConfigError> {
    let descriptors = Descriptors::from([(3, Arc::new(descriptor.into()))]);
    NetSource::check(&NetBackend::Fd(3), &descriptors)
}

#[test]
fn datagram_sockets_can_carry_frames() {
    let (datagrams, _peer) = UnixDatagram::pair().unwrap();
    assert!(matches!(checked(datagrams), Ok(NetSource::Descriptor { vnet_hdr: false, .. })));
}

#[test]
fn streams_and_files_cannot_and_what_is_not_there_neither() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let text = checked(stream).unwrap_err().to_string();
    assert!(text.contains("descriptor 3") && text.contains("not a datagram socket"), "{text}");
    for path in ["/proc/self/exe", "/dev/null"] {
        let text = checked(File::open(path).unwrap()).unwrap_err().to_string();
        assert!(text.contains("neither a tap nor a datagram socket"), "{text}");
    }
    let text = NetSource::check(&NetBackend::Fd(4), &Descriptors::new()).unwrap_err().to_string();
    assert!(text.contains("descriptor 4"), "{text}");
}
