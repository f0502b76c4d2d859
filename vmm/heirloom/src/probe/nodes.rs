// SPDX-License-Identifier: Apache-2.0
//! Whether this user may open a node. Asks the kernel and opens nothing.

use std::path::Path;

use rustix::fs::{Access, access};

/// Whether `node` may be read and written; `None` if it is not there.
pub(super) fn usable(node: &Path) -> Option<bool> {
    access(node, Access::EXISTS).ok()?;
    Some(access(node, Access::READ_OK | Access::WRITE_OK).is_ok())
}
