// SPDX-License-Identifier: Apache-2.0
//! VFs that another process serves over vfio-user, with their PFs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::SetupError;
use super::pf::Pf;
use super::{Context, Member, Opened, Wanted};
use crate::config::ServedVfPlan;

type ServedMember<'a> = Member<'a, ServedVfPlan>;

/// Connects to PFs and VFs.
pub(super) fn open(wanted: &[Wanted<'_, ServedVfPlan>], context: Context<'_>) -> Result<Vec<Opened>, SetupError> {
    let mut pfs = BTreeMap::<&Path, Vec<ServedMember<'_>>>::new();
    for wanted in wanted {
        pfs.entry(&wanted.plan.pf_socket).or_default().push(Member { wanted, number: wanted.plan.member });
    }
    let mut opened = Vec::new();
    for (socket, members) in pfs {
        // Nobody else enables them.
        let vfs = members.iter().map(|member| member.number.get()).max().unwrap_or(0);
        let pf = Arc::new(Pf::served(socket, vfs, context)?);
        for member in members {
            opened.push(member.open(&pf, context, |plan| Ok(context.hardware.connect(&plan.socket)?))?);
        }
    }
    Ok(opened)
}
