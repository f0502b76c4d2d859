// SPDX-License-Identifier: Apache-2.0
//! The VM's interrupt routes: the fixed ones of the PICs and the I/O APIC, and one per message-signalled
//! interrupt.
//!
//! KVM_SET_GSI_ROUTING replaces the whole table, so one mutex covers the table and the call. No guest
//! register access takes it but the one that programs a vector.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::contract::platform::{MsiInterrupt, MsiMessage, MsiSource};
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::Cap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::lines::PIN_COUNT;
use super::{KvmError, Vm};

/// Interrupts of the two PICs.
const PIC_PINS: u32 = 16;
/// Entries of the fixed part: GSI 0 to 15 lead to a PIC and the I/O APIC, 16 to 23 to the I/O APIC.
const LEGACY_ENTRIES: u32 = PIC_PINS + PIN_COUNT;

/// Gives out message-signalled interrupts of one VM. Make one per VM: it owns the VM's whole table.
pub struct MsiRoutes {
    shared: Arc<Shared>,
}

impl MsiRoutes {
    /// Takes over the routing of `vm`, and installs the table that KVM has by default.
    ///
    /// # Errors
    /// When KVM refuses.
    pub fn new(vm: &Vm) -> Result<Self, KvmError> {
        // KVM_CAP_IRQ_ROUTING tells the size of the table, which is also the limit of GSI numbers.
        let size = u32::try_from(vm.fd().check_extension_int(Cap::IrqRouting)).unwrap_or(0);
        let capacity = size.saturating_sub(LEGACY_ENTRIES);
        let free = (PIN_COUNT..PIN_COUNT.saturating_add(capacity)).collect();
        let table = Table { free, messages: BTreeMap::new(), announced: BTreeMap::new(), installed: 0 };
        let shared = Shared { vm: vm.clone(), capacity, table: Mutex::new(table) };
        shared.install(&mut shared.table())?;
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl MsiSource for MsiRoutes {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        let gsi = self.shared.allocate()?;
        Ok(Arc::new(Msi { shared: self.shared.clone(), gsi, event, enabled: Mutex::new(false) }))
    }
}

struct Shared {
    vm: Vm,
    /// Most message-signalled interrupts there can be.
    capacity: u32,
    table: Mutex<Table>,
}

struct Table {
    /// GSIs nobody has.
    free: BTreeSet<u32>,
    /// Allocated GSIs; `Some` once the kernel has a route for it.
    messages: BTreeMap<u32, Option<MsiMessage>>,
    /// Routes that will be wanted soon: they are installed with the first of them.
    announced: BTreeMap<u32, MsiMessage>,
    /// How often the kernel got a table.
    installed: u64,
}

impl Shared {
    fn allocate(&self) -> Result<u32, KvmError> {
        let mut table = self.table();
        let gsi = table.free.pop_first().ok_or(KvmError::NoGsi { max: self.capacity })?;
        table.messages.insert(gsi, None);
        Ok(gsi)
    }

    /// The kernel may keep a stale route: nothing can raise that GSI until it is given out and routed again.
    /// That spares one slow call per vector when a device goes.
    fn release(&self, gsi: u32) {
        let mut table = self.table();
        table.messages.remove(&gsi);
        table.announced.remove(&gsi);
        table.free.insert(gsi);
    }

    fn announce(&self, gsi: u32, message: MsiMessage) {
        self.table().announced.insert(gsi, message);
    }

    fn route(&self, gsi: u32, message: MsiMessage) -> Result<(), KvmError> {
        let mut table = self.table();
        table.announced.remove(&gsi);
        if table.messages.get(&gsi) == Some(&Some(message)) {
            return Ok(());
        }
        let announced = std::mem::take(&mut table.announced);
        // One that the kernel does not take must not keep the others from theirs: then each comes by itself.
        if !announced.is_empty() && self.replace(&mut table, announced.into_iter().chain([(gsi, message)])).is_ok() {
            return Ok(());
        }
        self.replace(&mut table, [(gsi, message)].into_iter())
    }

    /// Installs the table with these routes in it; on failure it is as it was.
    fn replace(&self, table: &mut Table, routes: impl Iterator<Item = (u32, MsiMessage)>) -> Result<(), KvmError> {
        let before: Vec<_> =
            routes.map(|(gsi, message)| (gsi, table.messages.insert(gsi, Some(message)).flatten())).collect();
        self.install(table).inspect_err(|_| table.messages.extend(before))
    }

    fn install(&self, table: &mut Table) -> Result<(), KvmError> {
        table.installed += 1;
        let failed = |source| KvmError::Call { what: "set the guest's interrupt routes", source };
        let entries: Vec<_> = legacy_entries().chain(table.entries()).collect();
        let routing =
            KvmIrqRouting::from_entries(&entries).map_err(|error| failed(io::Error::other(format!("{error:?}"))))?;
        self.vm.fd().set_gsi_routing(&routing).map_err(|error| failed(error.into()))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn entries(&self) -> impl Iterator<Item = kvm_irq_routing_entry> {
        self.messages.iter().filter_map(|(&gsi, message)| {
            let message = (*message)?;
            let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_MSI, ..Default::default() };
            entry.u.msi.address_lo = message.address as u32;
            entry.u.msi.address_hi = (message.address >> 32) as u32;
            entry.u.msi.data = message.data;
            Some(entry)
        })
    }
}

/// KVM's default (arch/x86/kvm/irq.c, `default_routing`): GSI n is pin n of the I/O APIC, and of the PICs as
/// far as they go. That includes 0: the timer comes in at I/O APIC pin 0, not 2 as on a PC with its override,
/// and the guest's interrupt tables have to say so.
fn legacy_entries() -> impl Iterator<Item = kvm_irq_routing_entry> {
    let entry = |gsi, irqchip, pin| {
        let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_IRQCHIP, ..Default::default() };
        entry.u.irqchip.irqchip = irqchip;
        entry.u.irqchip.pin = pin;
        entry
    };
    let pics = (0..PIC_PINS).map(move |gsi| {
        let chip = if gsi < 8 { KVM_IRQCHIP_PIC_MASTER } else { KVM_IRQCHIP_PIC_SLAVE };
        entry(gsi, chip, gsi % 8)
    });
    pics.chain((0..PIN_COUNT).map(move |gsi| entry(gsi, KVM_IRQCHIP_IOAPIC, gsi)))
}

struct Msi {
    shared: Arc<Shared>,
    gsi: u32,
    event: EventFd,
    /// Whether the eventfd is attached to the GSI.
    enabled: Mutex<bool>,
}

impl Msi {
    fn enabled(&self) -> MutexGuard<'_, bool> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// KVM looks at the eventfd when it attaches it, and delivers what is pending (virt/kvm/eventfd.c, kvm_irqfd_assign).
    fn attach(&self) -> io::Result<()> {
        let attached = self.shared.vm.fd().register_irqfd(&self.event, self.gsi);
        attached.map_err(KvmError::call("attach an interrupt's eventfd")).map_err(io::Error::from)
    }

    /// KVM resets the eventfd's counter when it detaches it, in one step with its removal (irqfd_shutdown): what was
    /// delivered does not come again, and what is signalled later stays.
    fn detach(&self) -> io::Result<()> {
        let detached = self.shared.vm.fd().unregister_irqfd(&self.event, self.gsi);
        detached.map_err(KvmError::call("detach an interrupt's eventfd")).map_err(io::Error::from)
    }
}

impl MsiInterrupt for Msi {
    fn event(&self) -> &EventFd {
        &self.event
    }

    fn announce(&self, message: MsiMessage) {
        self.shared.announce(self.gsi, message);
    }

    fn enable(&self, message: MsiMessage) -> io::Result<()> {
        let mut enabled = self.enabled();
        self.shared.route(self.gsi, message)?;
        if !*enabled {
            self.attach()?;
            *enabled = true;
        }
        Ok(())
    }

    fn disable(&self) -> io::Result<()> {
        let mut enabled = self.enabled();
        if *enabled {
            self.detach()?;
            *enabled = false;
        }
        Ok(())
    }
}

impl Drop for Msi {
    fn drop(&mut self) {
        if let Err(error) = self.disable() {
            // The GSI stays taken: giving it to another device could send it this one's interrupts.
            tracing::warn!(%error, gsi = self.gsi, "cannot free an interrupt");
            return;
        }
        self.shared.release(self.gsi);
    }
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
