// SPDX-License-Identifier: GPL-2.0
/*
 * sriovshim: gives a PF behind QEMU's vfio-user-pci its SR-IOV capability back.
 *
 * QEMU blanks the header of an SR-IOV extended capability, so that no kernel finds it, but hands the capability's
 * body to the device: NumVFs, the VF BARs and the Control register work. The VFs themselves are functions of the
 * same slot, visible from the start, with vendor ids and BARs of their own.
 *
 * This module takes the place of the PF bus's config accessors. It shows the header again, hides the functions
 * until VF Enable, and then shows them as the SR-IOV specification wants VFs to look: ids ffff:ffff, BARs, ROM and
 * interrupt pin zero, no memory enable bit. When the PF's VF Memory Space Enable comes on, each function's own BARs
 * get the addresses that the PF's VF BARs stand for. All else, kernel drivers included, is the real thing.
 *
 * Limits: the capability is the head of the extended list (offset 0x100); at most seven VFs, all on the PF's bus.
 *
 * While VFs are enabled the module cannot be unloaded. Unloading removes the PF and lets the bus be scanned again,
 * which shows the functions as QEMU does.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#define SRIOV_CAP PCI_CFG_SPACE_SIZE
#define SRIOV_CAP_HEADER (PCI_EXT_CAP_ID_SRIOV | 1 << 16)
#define MAX_VFS 7
#define BARS PCI_STD_NUM_BARS

static char *pf;
module_param(pf, charp, 0444);
MODULE_PARM_DESC(pf, "address of the PF, such as 0000:01:00.0");

/* A memory BAR: what it says about itself, and the bytes it spans. A size of 0 stands for no BAR. */
struct bar {
	u64 size;
	u32 flags;
};

static struct {
	struct pci_bus *bus;
	struct pci_ops *ops; /* the bus's own accessors */
	unsigned int devfn;
	u32 header; /* of the SR-IOV capability, as the PF should show it */
	u16 first, stride, total;
	struct bar vf_bar[BARS];
	/* Guards `active` and the order of BAR updates against writes of the Control register. */
	raw_spinlock_t lock;
	unsigned int active; /* VFs that exist now */
} shim = { .lock = __RAW_SPIN_LOCK_UNLOCKED(shim.lock) };

/* --- access to what is underneath ------------------------------------------------------------------------- */

static u32 raw_read(unsigned int devfn, int where, int size)
{
	u32 value = ~0;

	shim.ops->read(shim.bus, devfn, where, size, &value);
	return value;
}

static void raw_write(unsigned int devfn, int where, int size, u32 value)
{
	shim.ops->write(shim.bus, devfn, where, size, value);
}

static unsigned int vf_devfn(unsigned int index)
{
	return shim.devfn + shim.first + shim.stride * index;
}

/* The VF a function is, or -1. */
static int vf_index(unsigned int devfn)
{
	unsigned int i;

	for (i = 0; i < shim.total; i++)
		if (vf_devfn(i) == devfn)
			return i;
	return -1;
}

static bool is_64bit(u32 flags)
{
	return (flags & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
}

/* Sizes the BARs at `base` of a function that does not decode memory, in the way of any firmware. */
static int size_bars(unsigned int devfn, int base, struct bar *bars)
{
	int i;

	memset(bars, 0, sizeof(*bars) * BARS);
	for (i = 0; i < BARS; i++) {
		int low = base + 4 * i, high = low + 4;
		u32 old = raw_read(devfn, low, 4), old_high = 0;
		u64 mask;

		raw_write(devfn, low, 4, ~0);
		mask = raw_read(devfn, low, 4);
		raw_write(devfn, low, 4, old);
		if (!mask)
			continue;
		if (mask & PCI_BASE_ADDRESS_SPACE_IO)
			return -EINVAL;
		bars[i].flags = mask & ~PCI_BASE_ADDRESS_MEM_MASK;
		mask &= PCI_BASE_ADDRESS_MEM_MASK;
		if (!is_64bit(bars[i].flags)) {
			mask |= GENMASK_ULL(63, 32);
			bars[i].size = ~mask + 1;
			continue;
		}
		if (i + 1 == BARS)
			return -EINVAL;
		old_high = raw_read(devfn, high, 4);
		raw_write(devfn, high, 4, ~0);
		mask |= (u64)raw_read(devfn, high, 4) << 32;
		raw_write(devfn, high, 4, old_high);
		bars[i++].size = ~mask + 1;
	}
	return 0;
}

/* --- VF Enable and VF Memory Space Enable ----------------------------------------------------------------- */

static void place_vf(unsigned int index)
{
	unsigned int devfn = vf_devfn(index);
	int i;

	for (i = 0; i < BARS; i++) {
		const struct bar *bar = &shim.vf_bar[i];
		int from = SRIOV_CAP + PCI_SRIOV_BAR + 4 * i, to = PCI_BASE_ADDRESS_0 + 4 * i;
		u64 address;

		if (!bar->size)
			continue;
		address = raw_read(shim.devfn, from, 4) & PCI_BASE_ADDRESS_MEM_MASK;
		if (is_64bit(bar->flags))
			address |= (u64)raw_read(shim.devfn, from + 4, 4) << 32;
		address += bar->size * index;
		raw_write(devfn, to, 4, lower_32_bits(address));
		if (is_64bit(bar->flags))
			raw_write(devfn, to + 4, 4, upper_32_bits(address));
	}
}

/* Makes the functions what the Control register says now. */
static void control_written(void)
{
	u16 control, count;
	unsigned long irq;
	unsigned int i;
	bool was, is;

	raw_spin_lock_irqsave(&shim.lock, irq);
	control = raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_CTRL, 2);
	count = min_t(u16, raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_NUM_VF, 2), shim.total);
	was = shim.active;
	WRITE_ONCE(shim.active, control & PCI_SRIOV_CTRL_VFE ? count : 0);
	is = shim.active;
	/* VFs pin the module. This cannot fail here: the loaded module's code is running. */
	if (is && !was)
		__module_get(THIS_MODULE);
	for (i = 0; i < shim.total; i++) {
		u16 command = raw_read(vf_devfn(i), PCI_COMMAND, 2) & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY);

		raw_write(vf_devfn(i), PCI_COMMAND, 2, command);
		if (i >= shim.active || !(control & PCI_SRIOV_CTRL_MSE))
			continue;
		place_vf(i);
		raw_write(vf_devfn(i), PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY);
	}
	if (was && !is)
		module_put(THIS_MODULE);
	raw_spin_unlock_irqrestore(&shim.lock, irq);
}

/* --- what the bus shows ----------------------------------------------------------------------------------- */

/* Replaces those bytes of a value read at `where` that lie in [at, at + length); `bytes` has at most four. */
static void overlay(u32 *value, int where, int size, int at, int length, u32 bytes)
{
	int i;

	for (i = 0; i < size; i++) {
		int offset = where + i - at;
		u32 byte;

		if (offset < 0 || offset >= length)
			continue;
		byte = offset < 4 ? bytes >> (8 * offset) & 0xff : 0;
		*value = (*value & ~(0xffu << (8 * i))) | byte << (8 * i);
	}
}

static void show_pf(int where, int size, u32 *value)
{
	u32 type;

	overlay(value, where, size, SRIOV_CAP, 4, shim.header);
	/* The slot's other functions are none before VF Enable, and VFs after it. */
	type = raw_read(shim.devfn, PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MASK;
	overlay(value, where, size, PCI_HEADER_TYPE, 1, type);
}

static void show_vf(unsigned int devfn, int where, int size, u32 *value)
{
	u32 fixed = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

	overlay(value, where, size, PCI_VENDOR_ID, 4, ~0);
	overlay(value, where, size, PCI_COMMAND, 1, raw_read(devfn, PCI_COMMAND, 1) & ~fixed);
	overlay(value, where, size, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_NORMAL);
	overlay(value, where, size, PCI_BASE_ADDRESS_0, 4 * BARS, 0);
	overlay(value, where, size, PCI_ROM_ADDRESS, 4, 0);
	overlay(value, where, size, PCI_INTERRUPT_LINE, 2, 0);
}

static int shim_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	int index, result;

	index = bus == shim.bus ? vf_index(devfn) : -1;
	if (index >= 0 && index >= READ_ONCE(shim.active)) {
		*value = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	result = shim.ops->read(bus, devfn, where, size, value);
	if (result != PCIBIOS_SUCCESSFUL || bus != shim.bus)
		return result;
	if (index >= 0)
		show_vf(devfn, where, size, value);
	else if (devfn == shim.devfn)
		show_pf(where, size, value);
	return result;
}

/*
 * A VF has no memory enable bit; underneath, the function's follows the PF. A function level reset may have
 * cleared it, and the BARs with it, which those of a VF survive: the Command register is what kernels write next.
 */
static int write_vf_command(unsigned int index, int size, u32 value)
{
	unsigned int devfn = vf_devfn(index);
	unsigned long irq;
	int result;

	value &= ~(u32)(PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	raw_spin_lock_irqsave(&shim.lock, irq);
	if (raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_CTRL, 2) & PCI_SRIOV_CTRL_MSE) {
		if (!(raw_read(devfn, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
			place_vf(index);
		value |= PCI_COMMAND_MEMORY;
	}
	result = shim.ops->write(shim.bus, devfn, PCI_COMMAND, size, value);
	raw_spin_unlock_irqrestore(&shim.lock, irq);
	return result;
}

static bool touches(int where, int size, int at, int length)
{
	return where < at + length && where + size > at;
}

static int shim_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	int index, result;

	if (bus != shim.bus)
		return shim.ops->write(bus, devfn, where, size, value);
	index = vf_index(devfn);
	if (index < 0) {
		result = shim.ops->write(bus, devfn, where, size, value);
		if (devfn == shim.devfn && touches(where, size, SRIOV_CAP + PCI_SRIOV_CTRL, 2))
			control_written();
		return result;
	}
	if (index >= READ_ONCE(shim.active))
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (touches(where, size, PCI_BASE_ADDRESS_0, 4 * BARS) || touches(where, size, PCI_ROM_ADDRESS, 4))
		return PCIBIOS_SUCCESSFUL;
	if (where == PCI_COMMAND)
		return write_vf_command(index, size, value);
	return shim.ops->write(bus, devfn, where, size, value);
}

static struct pci_ops shim_ops;

/* --- loading and unloading -------------------------------------------------------------------------------- */

static int read_capability(void)
{
	u32 header = raw_read(shim.devfn, SRIOV_CAP, 4);

	if (header == ~0 || PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_SRIOV) {
		pr_err("%s %s\n", pf, header == ~0 ? "has no extended configuration space" :
				      "shows its SR-IOV capability by itself");
		return -EINVAL;
	}
	if (PCI_EXT_CAP_ID(header)) {
		pr_err("%s has capability 0x%x at 0x100, where its SR-IOV capability should be\n", pf,
		       PCI_EXT_CAP_ID(header));
		return -EINVAL;
	}
	/* The pointer to the next capability is right as it is. */
	shim.header = (header & GENMASK(31, 20)) | SRIOV_CAP_HEADER;
	shim.first = raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_VF_OFFSET, 2);
	shim.stride = raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_VF_STRIDE, 2);
	shim.total = raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_TOTAL_VF, 2);
	if (!shim.total || shim.total > MAX_VFS || !shim.first || (!shim.stride && shim.total > 1) ||
	    shim.devfn + shim.first + shim.stride * (shim.total - 1) > 0xff) {
		pr_err("%s: %u VFs at offset %u, stride %u are not supported\n", pf, shim.total, shim.first,
		       shim.stride);
		return -EINVAL;
	}
	if (raw_read(shim.devfn, SRIOV_CAP + PCI_SRIOV_CTRL, 2) & PCI_SRIOV_CTRL_VFE) {
		pr_err("%s has its VFs enabled already\n", pf);
		return -EBUSY;
	}
	return 0;
}

/* The functions must be there and have the BARs that the PF promises for them. Nobody uses them now. */
static int check_functions(void)
{
	struct bar bars[BARS];
	unsigned int i, b;

	if (size_bars(shim.devfn, SRIOV_CAP + PCI_SRIOV_BAR, shim.vf_bar)) {
		pr_err("%s: a VF BAR is not a memory BAR\n", pf);
		return -EINVAL;
	}
	for (i = 0; i < shim.total; i++) {
		unsigned int devfn = vf_devfn(i);
		u16 command;

		if (raw_read(devfn, PCI_VENDOR_ID, 4) == ~0) {
			pr_err("%s has %u VFs, but there is no function %02x.%x\n", pf, shim.total,
			       PCI_SLOT(devfn), PCI_FUNC(devfn));
			return -ENODEV;
		}
		command = raw_read(devfn, PCI_COMMAND, 2);
		raw_write(devfn, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
		if (size_bars(devfn, PCI_BASE_ADDRESS_0, bars))
			memset(bars, 0, sizeof(bars));
		for (b = 0; b < BARS; b++) {
			if (bars[b].size == shim.vf_bar[b].size && bars[b].flags == shim.vf_bar[b].flags)
				continue;
			pr_err("VF %u: BAR %u is 0x%llx bytes of type %x, the PF says 0x%llx of type %x\n", i, b,
			       bars[b].size, bars[b].flags, shim.vf_bar[b].size, shim.vf_bar[b].flags);
			return -EINVAL;
		}
	}
	return 0;
}

static void remove_function(unsigned int devfn)
{
	struct pci_dev *dev = pci_get_slot(shim.bus, devfn);

	if (dev)
		pci_stop_and_remove_bus_device(dev);
	pci_dev_put(dev);
}

/* From the bridge down, so that its windows are looked at as well. */
static void rescan(void)
{
	pci_rescan_bus(shim.bus->self ? shim.bus->self->bus : shim.bus);
}

static struct pci_dev *find_pf(void)
{
	unsigned int domain, bus, slot, function;

	if (!pf || sscanf(pf, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4) {
		pr_err("pf= wants the address of the PF, such as 0000:01:00.0\n");
		return NULL;
	}
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
}

static int __init shim_init(void)
{
	struct pci_dev *dev = find_pf();
	int i, result;

	if (!dev)
		return -ENODEV;
	shim.bus = dev->bus;
	shim.devfn = dev->devfn;
	shim.ops = dev->bus->ops;
	pci_dev_put(dev);
	result = read_capability();
	if (result)
		return result;

	pci_lock_rescan_remove();
	for (i = shim.total - 1; i >= 0; i--)
		remove_function(vf_devfn(i));
	remove_function(shim.devfn);
	result = check_functions();
	if (!result) {
		shim_ops = *shim.ops;
		shim_ops.read = shim_read;
		shim_ops.write = shim_write;
		pci_bus_set_ops(shim.bus, &shim_ops);
		pr_info("%s has %u VFs, offset %u, stride %u\n", pf, shim.total, shim.first, shim.stride);
	}
	rescan();
	pci_unlock_rescan_remove();
	return result;
}

static void __exit shim_exit(void)
{
	pci_lock_rescan_remove();
	remove_function(shim.devfn);
	pci_bus_set_ops(shim.bus, shim.ops);
	rescan();
	pci_unlock_rescan_remove();
}

module_init(shim_init);
module_exit(shim_exit);
MODULE_DESCRIPTION("Restores the SR-IOV capability that QEMU's vfio-user-pci hides");
MODULE_LICENSE("GPL");
