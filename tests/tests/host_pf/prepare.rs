// SPDX-License-Identifier: Apache-2.0
//! PFs prepared and released: what is there meanwhile, and that all is as it was afterwards.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tests::Heirloom;

use crate::host::{ENABLE_SRIOV, Snapshot, answer, driver, heirloom, list, prepare, read, release, vf};
use crate::{Outcome, check, qemu, soft};

const TOKEN: &str = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";

fn is_prepared(pf: &str) -> Outcome {
    for address in [pf.to_owned(), vf(pf, 0)?, vf(pf, 1)?] {
        let driver = driver(&address);
        check(driver.as_deref() == Some("vfio-pci"), format!("{address} is bound to {driver:?}"))?;
    }
    check(read(ENABLE_SRIOV)? == "Y", "enable_sriov")
}

pub(crate) fn there_and_back(pf: &str) -> Outcome {
    let before = Snapshot::take()?;
    for _ in 0..2 {
        let done = prepare(pf, &["--token", TOKEN])?;
        is_prepared(pf)?;
        let options = list(&done, "legacy_virtio", "");
        let expected: Vec<_> =
            (0..2).map(|n| Ok(format!("--legacy-virtio vf={},token={TOKEN}", vf(pf, n)?))).collect::<Outcome<_>>()?;
        check(options == expected, format!("{options:?}"))?;
        let actions = list(&done, "actions", "what").join("; ");
        for word in ["enable_sriov is Y", "has 2 VFs", &format!("{} is bound to vfio-pci", vf(pf, 1)?)] {
            check(actions.contains(word), format!("'{word}' is not in: {actions}"))?;
        }
        release(pf)?;
        before.still()?;
    }
    Ok(())
}

/// The parameter goes back with the last PF.
pub(crate) fn both() -> Outcome {
    let (soft, qemu) = (soft()?, qemu()?);
    let before = Snapshot::take()?;
    prepare(&soft, &[])?;
    prepare(&qemu, &[])?;
    release(&soft)?;
    check(read(ENABLE_SRIOV)? == "Y", "the other PF still needs it")?;
    is_prepared(&qemu)?;
    release(&qemu)?;
    before.still()
}

pub(crate) fn twice() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let between = Snapshot::take()?;
    let again = prepare(&pf, &[])?;
    check(list(&again, "actions", "what").is_empty(), format!("{again:#}"))?;
    check(list(&again, "legacy_virtio", "").len() == 2, format!("{again:#}"))?;
    between.still()?;
    release(&pf)?;
    before.still()?;
    let again = release(&pf)?;
    check(list(&again, "actions", "what").is_empty(), format!("{again:#}"))?;
    before.still()
}

/// What is said beforehand is what is done later.
pub(crate) fn dry_run() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    let planned = prepare(&pf, &["--dry-run"])?;
    before.still()?;
    let done = prepare(&pf, &[])?;
    for name in ["actions", "legacy_virtio", "undo"] {
        check(planned[name] == done[name], format!("planned {planned:#}\ndone {done:#}"))?;
    }
    let between = Snapshot::take()?;
    let planned = answer(&["pf", "release", &pf, "--dry-run"], 0)?;
    between.still()?;
    let done = release(&pf)?;
    check(planned["actions"] == done["actions"], format!("planned {planned:#}\ndone {done:#}"))?;
    before.still()
}

pub(crate) fn kernel() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    let done = prepare(&pf, &["--driver", "kernel"])?;
    check(driver(&pf).as_deref() == Some("virtio-pci"), "the PF has left its driver")?;
    for index in 0..2 {
        check(driver(&vf(&pf, index)?).as_deref() == Some("virtio_vfio_pci"), format!("VF {index}"))?;
    }
    let options = list(&done, "legacy_virtio", "");
    check(options.iter().all(|option| option.ends_with(",admin=kernel")), format!("{options:?}"))?;
    release(&pf)?;
    before.still()
}

/// A file in the parameter's place takes the new value, and the kernel does not hear of it: VFs are refused when the PF
/// is bound already.
pub(crate) fn half_way() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    fs::write("/tmp/parameter", "N\n").map_err(crate::text)?;
    mount(&["mount", "-o", "bind", "/tmp/parameter", ENABLE_SRIOV])?;
    let refused = heirloom(&["pf", "prepare", &pf, "--vfs", "2"]);
    let parameter = fs::read_to_string("/tmp/parameter").map_err(crate::text)?;
    mount(&["umount", ENABLE_SRIOV])?;
    let refused = refused?.expect_code(3)?.expect_error("sriov_numvfs")?;
    refused.expect_error("everything that was done before has been undone")?;
    check(parameter == "N\n", format!("the parameter was left at {parameter:?}"))?;
    before.still()
}

fn mount(words: &[&str]) -> Outcome {
    let status = Command::new(words[0]).args(&words[1..]).status().map_err(crate::text)?;
    check(status.success(), format!("{words:?}: {status}"))
}

/// However far it came, it can be released.
pub(crate) fn killed() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    for wait in [2, 10, 30, 60, 120, 250] {
        let run = Heirloom::plain(&["pf", "prepare", &pf, "--vfs", "2"]).start()?;
        thread::sleep(Duration::from_millis(wait)); // Clock: moments to kill it at, whatever it does then.
        drop(run);
        println!(
            "killed after {wait} ms: bound to {:?}, {} VFs",
            driver(&pf),
            read(crate::host::device(&pf).join("sriov_numvfs"))?
        );
        release(&pf)?;
        before.still().map_err(|error| format!("killed after {wait} ms: {error}"))?;
    }
    Ok(())
}

/// After the state was lost, the kernel chooses the PF's driver.
pub(crate) fn without_state() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    fs::remove_file(format!("/run/heirloom/pf/{pf}.json")).map_err(crate::text)?;
    release(&pf)?;
    fs::write(ENABLE_SRIOV, "N").map_err(crate::text)?;
    before.still()
}
