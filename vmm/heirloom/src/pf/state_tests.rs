// SPDX-License-Identifier: Apache-2.0
//! The folder of states, with others at it.
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::fixture::{Fixture, PF};
use super::*;

fn before() -> Before {
    Before { driver: Some("virtio-pci".to_owned()), driver_override: None, enabled_sriov: false, autoprobe: None }
}

#[test]
fn f20_links_in_the_folder_are_not_followed() {
    let fixture = Fixture::fresh();
    let (host, pf) = (fixture.host(), PF.parse().unwrap());
    let victim = fixture.path("victim");
    fs::write(&victim, "precious").unwrap();
    drop(lock(&host).unwrap());
    let at = |name: &str| host.state.join(name);

    fs::remove_file(at("lock")).unwrap();
    symlink(&victim, at("lock")).unwrap();
    assert!(matches!(lock(&host), Err(ManageError::State { .. })));
    // The way of a state is cleared of whatever is there.
    symlink(&victim, at(&format!("{PF}.new"))).unwrap();
    symlink(&victim, at(&format!("{PF}.json"))).unwrap();
    assert!(matches!(load(&host, pf), Err(ManageError::State { .. })));
    store(&host, pf, &before()).unwrap();
    assert_eq!(load(&host, pf).unwrap(), Some(before()));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    remove(&host, pf).unwrap();
    assert_eq!(load(&host, pf).unwrap(), None);
}

#[test]
fn f20_a_folder_that_is_not_only_ours_is_refused() {
    let fixture = Fixture::fresh();
    let (host, pf) = (fixture.host(), PF.parse().unwrap());
    assert_eq!(load(&host, pf).unwrap(), None, "none at all is no state");
    drop(lock(&host).unwrap());
    fs::set_permissions(&host.state, Permissions::from_mode(0o777)).unwrap();
    let refused = |result: Result<_, ManageError>| matches!(result, Err(ManageError::StateFolder { .. }));
    assert!(refused(lock(&host).map(|_| ())));
    assert!(refused(load(&host, pf).map(|_| ())));
    assert!(refused(store(&host, pf, &before())));

    let elsewhere = fixture.path("elsewhere");
    fs::rename(&host.state, &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
    symlink(&elsewhere, &host.state).unwrap();
    assert!(matches!(load(&host, pf), Err(ManageError::State { .. })), "a link is no folder");
}
