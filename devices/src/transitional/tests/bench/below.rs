// SPDX-License-Identifier: Apache-2.0
//! What one owner of a function has below it, without a function around it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Log, Model, Setup, vf};
use crate::contract::mock::{MockFunction, MockLine};
use crate::function::PciFunction;
use crate::transitional::DeviceType;
use crate::transitional::below::back_end::BackEnd;

/// A VF, its legacy registers, and the guest's interrupt line.
pub(crate) struct Below {
    pub vf: Arc<MockFunction>,
    pub model: Arc<Model>,
    pub line: Arc<MockLine>,
    pub back_end: Arc<BackEnd>,
    pub log: Log,
}

impl Below {
    pub(crate) fn new(setup: &Setup) -> Self {
        let log = Log::default();
        let vf = Arc::new(vf(setup, &log));
        let model = Arc::new(Model::new(setup, &log, &vf));
        let reset = Arc::downgrade(&model);
        vf.on_reset(move || reset.upgrade().iter().for_each(|model| model.reset()));
        let cancelled = Arc::new(AtomicBool::new(false));
        let back_end = BackEnd::new("below", DeviceType::Net, model.clone(), Duration::from_secs(10), cancelled);
        Self { vf, model, line: Arc::default(), back_end: Arc::new(back_end), log }
    }

    /// The VF as what it is to its owners.
    pub(crate) fn function(&self) -> Arc<dyn PciFunction> {
        self.vf.clone()
    }
}
