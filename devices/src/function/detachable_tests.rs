// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::soft_pf::{NetBackend, SoftPf, VfSpec};

#[test]
fn a_detached_function_is_dropped_and_its_handle_still_says_what_it_was() {
    let soft = SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] }]);
    let soft = soft.unwrap();
    let function = soft.pf();
    let weak = Arc::downgrade(&function);
    let (vectors, region) = (function.msix_vectors(), function.region(4));
    let handle = Detachable::new(function).unwrap();
    assert_eq!(handle.config_read(0, Width::B2).unwrap(), 0x1af4);
    let users = weak.strong_count();
    assert!(!handle.is_detached());
    handle.detach();
    assert!(handle.is_detached());
    assert_eq!(weak.strong_count(), users - 1, "nobody holds it for the handle");
    assert!(matches!(handle.config_read(0, Width::B2), Err(FunctionError::Gone { .. })));
    assert!(matches!(handle.reset(), Err(FunctionError::Gone { .. })));
    assert!(matches!(handle.mappable(4), Err(FunctionError::Gone { .. })));
    assert_eq!((handle.msix_vectors(), handle.region(4), handle.name().is_empty()), (vectors, region, false));
}
