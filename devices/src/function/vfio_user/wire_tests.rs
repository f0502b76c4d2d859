// SPDX-License-Identifier: Apache-2.0
//! Tests of `wire`: what is encoded is understood, what is not a message is refused, and nothing panics.

use proptest::prelude::*;

use super::*;

fn access() -> impl Strategy<Value = RegionAccess> {
    (any::<u64>(), any::<u32>(), 0..=64u32).prop_map(|(offset, region, count)| RegionAccess { offset, region, count })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..80)
}

/// Encodes, decodes, compares.
fn there_and_back(request: Request<'_>) {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    assert_eq!(Request::decode(request.command(), &payload), Ok(request));
    // One byte less is not a message, where all bytes have a meaning.
    let open_end = matches!(request, Request::Version { .. } | Request::SetIrqs(_));
    let padded = matches!(
        request,
        Request::GetInfo(_)
            | Request::GetRegionInfo { .. }
            | Request::GetRegionIoFds { .. }
            | Request::GetIrqInfo { .. }
    );
    if !open_end
        && !padded
        && let Some((_, short)) = payload.split_last()
    {
        assert!(Request::decode(request.command(), short).is_err());
    }
}

proptest! {
    #[test]
    fn requests_are_understood(a in access(), data in bytes(), n in any::<[u64; 4]>(), w in any::<[u32; 4]>()) {
        let sized = RegionAccess { count: data.len() as u32, ..a };
        let dma = DmaAccess { address: n[0], count: data.len() as u64 };
        for request in [
            Request::Version { major: w[0] as u16, minor: w[1] as u16, text: &data },
            Request::DmaMap(DmaMap { flags: w[0], offset: n[0], address: n[1], size: n[2] }),
            Request::DmaUnmap(DmaUnmap { argsz: w[0], flags: w[1], address: n[0], size: n[1] }),
            Request::GetInfo(w[0]),
            Request::GetRegionInfo { argsz: w[0], index: w[1] },
            Request::GetRegionIoFds { argsz: w[0], index: w[1] },
            Request::GetIrqInfo { index: w[0] },
            Request::SetIrqs(SetIrqs { flags: w[0], index: w[1], start: w[2], count: w[3], data: &data }),
            Request::RegionRead(a),
            Request::RegionWrite(sized, &data),
            Request::DmaRead(dma),
            Request::DmaWrite(dma, &data),
            Request::Reset,
        ] {
            there_and_back(request);
        }
    }

    #[test]
    fn replies_are_understood(w in any::<[u32; 4]>(), n in any::<[u64; 2]>(), areas in proptest::collection::vec(any::<(u64, u64)>(), 0..20)) {
        let mut out = Vec::new();
        let info = DeviceInfo { argsz: w[0], flags: w[1], regions: w[2], irqs: w[3] };
        info.encode(&mut out);
        prop_assert_eq!(DeviceInfo::decode(&out), Ok(info));
        let irq = IrqInfo { argsz: w[0], flags: w[1], index: w[2], count: w[3] };
        out.clear();
        irq.encode(&mut out);
        prop_assert_eq!(IrqInfo::decode(&out), Ok(irq));
        let flags = w[1] | region_flag::CAPS;
        let region = RegionInfo { argsz: w[0], flags, index: w[2], cap_offset: 32, size: n[0], offset: n[1] };
        let areas: Vec<_> = areas.into_iter().map(|(offset, size)| SparseArea { offset, size }).collect();
        out.clear();
        region.encode(&mut out);
        RegionInfo::encode_areas(&areas, &mut out);
        prop_assert_eq!(out.len(), RegionInfo::LEN + RegionInfo::areas_len(areas.len()));
        prop_assert_eq!(RegionInfo::decode(&out), Ok(region));
        prop_assert_eq!(region.decode_areas(&out), Ok(Some(areas)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(command in 0..20u16, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = Request::decode(command, &payload) {
            there_and_back_of_foreign(&request);
        }
        if let Ok(info) = RegionInfo::decode(&payload) {
            let _ = info.decode_areas(&payload);
        }
        let _ = (version(&payload), written(&payload), DeviceInfo::decode(&payload), IrqInfo::decode(&payload));
    }

    #[test]
    fn any_header_is_checked(bytes in any::<[u8; 16]>()) {
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert!((HEADER_LEN..=MAX_MESSAGE).contains(&(header.size as usize)));
            prop_assert_eq!(header.encode(), bytes);
            prop_assert_eq!(header.payload() + HEADER_LEN, header.size as usize);
        }
    }
}

/// What a peer sent means the same after it was encoded here.
fn there_and_back_of_foreign(request: &Request<'_>) {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    assert_eq!(Request::decode(request.command(), &payload).as_ref(), Ok(request));
}

/// A write of 0x0102 at offset 0x3000 of BAR 2, byte for byte as the protocol's text has it.
#[test]
fn bytes_of_a_region_write() {
    let access = RegionAccess { offset: 0x3000, region: 2, count: 2 };
    let mut payload = Vec::new();
    Request::RegionWrite(access, &[2, 1]).encode(&mut payload);
    assert_eq!(payload, [0, 0x30, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1]);
    let header = Header::request(0x1234, command::REGION_WRITE, payload.len());
    assert_eq!(header.encode(), [0x34, 0x12, 10, 0, 34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let failure = header.failure(22);
    assert_eq!(failure.encode(), [0x34, 0x12, 10, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]);
    assert_eq!((failure.is_reply(), failure.error(), header.error()), (true, Some(22), None));
}

#[test]
fn counts_that_do_not_fit_are_refused_before_anything_is_made_of_them() {
    let read = |count: u32| {
        let mut payload = Vec::new();
        RegionAccess { offset: 0, region: 0, count }.encode(&mut payload);
        Request::decode(command::REGION_READ, &payload).map(drop)
    };
    assert_eq!(read(MAX_DATA as u32), Ok(()));
    let count = u64::from(u32::MAX);
    assert_eq!(read(u32::MAX), Err(WireError::Count { command: command::REGION_READ, count }));
    for count in [1, MAX_MULTI as u64 + 1, u64::MAX / 24 + 2, u64::MAX] {
        let bytes = count.to_le_bytes();
        let decoded = Request::decode(command::REGION_WRITE_MULTI, &bytes);
        assert!(matches!(decoded, Err(WireError::Count { .. })), "{decoded:?}");
    }
    let mut list = Vec::new();
    RegionInfo { flags: region_flag::CAPS, cap_offset: 32, ..RegionInfo::default() }.encode(&mut list);
    put_u32(&mut list, &[0x0001_0001, 0, u32::MAX, 0]);
    assert!(RegionInfo::decode(&list).unwrap().decode_areas(&list).is_err());
    // A capability list that is a loop ends.
    let mut list = Vec::new();
    RegionInfo { flags: region_flag::CAPS, cap_offset: 32, ..RegionInfo::default() }.encode(&mut list);
    put_u32(&mut list, &[0x0001_0009, 32, 0, 0]);
    assert_eq!(RegionInfo::decode(&list).unwrap().decode_areas(&list), Ok(None));
}

#[test]
fn several_writes_in_one_message() {
    let mut payload = 2u64.to_le_bytes().to_vec();
    for (offset, count) in [(8u64, 4u32), (16, 8)] {
        RegionAccess { offset, region: 2, count }.encode(&mut payload);
        payload.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    }
    let Ok(Request::RegionWriteMulti(writes)) = Request::decode(command::REGION_WRITE_MULTI, &payload) else {
        panic!("not understood");
    };
    let found: Vec<_> = writes.iter().map(Result::unwrap).collect();
    assert_eq!(found[0], (RegionAccess { offset: 8, region: 2, count: 4 }, &[1, 2, 3, 4][..]));
    assert_eq!(found[1].1, [1, 2, 3, 4, 5, 6, 7, 8]);
    payload[8 + 12] = 9;
    let Ok(Request::RegionWriteMulti(writes)) = Request::decode(command::REGION_WRITE_MULTI, &payload) else {
        panic!("not understood");
    };
    assert!(writes.iter().next().unwrap().is_err(), "9 bytes in room for 8");
}
