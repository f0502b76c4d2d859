# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
#
# For jobs in the host VM: `. /lib/host-vm.sh`. PCI addresses are full ones, such as 0000:01:00.0. A function that
# fails says why on stderr and returns 1.

host_vm_say() {
    echo "host-vm.sh: $*" >&2
    return 1
}

# wait_for PATH [SECONDS]: until it exists.
wait_for() {
    local tries=$((${2:-10} * 10))
    while [ ! -e "$1" ]; do
        [ $tries -gt 0 ] || host_vm_say "no $1 after ${2:-10} s" || return 1
        tries=$((tries - 1))
        sleep 0.1
    done
}

# load_module NAME [PARAMETER=VALUE...]: with what it needs. One that is built in or loaded is fine.
load_module() {
    local module file need
    module=$(echo "$1" | tr - _)
    shift
    [ ! -e "/sys/module/$module" ] || return 0
    for file in /lib/host-vm-modules/*.ko; do
        [ "$(basename "$file" .ko | tr - _)" = "$module" ] || continue
        # shellcheck disable=SC2013
        for need in $(sed -n "s/^$module //p" /lib/host-vm-modules/needs); do
            load_module "$need" || return 1
        done
        insmod "$file" "$@" || host_vm_say "cannot load $module: $(dmesg | grep "$module" | tail -n 1)"
        return
    done
    host_vm_say "this kernel has no module $module"
}

# load_vfio: VFIO and the drivers of virtio devices, on stock kernels; built into vfio-6.12.
load_vfio() {
    local line
    while read -r line; do
        load_module "${line%.ko}" || return 1
    done </lib/host-vm-modules/order-vfio
}

# pci_driver ADDRESS: the name of its driver; nothing if there is none.
pci_driver() {
    [ ! -e "/sys/bus/pci/devices/$1/driver" ] || basename "$(readlink "/sys/bus/pci/devices/$1/driver")"
}

# pci_unbind ADDRESS
pci_unbind() {
    [ -z "$(pci_driver "$1")" ] || echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
}

# pci_bind ADDRESS DRIVER: by driver_override, so that no other device is caught (virtio_vfio_pci is spelled
# with underscores, vfio-pci is not).
pci_bind() {
    [ -e "/sys/bus/pci/devices/$1" ] || host_vm_say "there is no PCI device $1" || return 1
    [ -e "/sys/bus/pci/drivers/$2" ] || host_vm_say "there is no PCI driver $2" || return 1
    pci_unbind "$1" || return 1
    echo "$2" >"/sys/bus/pci/devices/$1/driver_override" || return 1
    echo "$1" >/sys/bus/pci/drivers_probe
    [ "$(pci_driver "$1")" = "$2" ] || host_vm_say "$1 did not bind to $2: $(dmesg | tail -n 1)"
}

# sriov_enable PF COUNT [AUTOPROBE]: AUTOPROBE 0 (default) leaves the VFs without a driver, 1 binds them.
sriov_enable() {
    echo "${3:-0}" >"/sys/bus/pci/devices/$1/sriov_drivers_autoprobe" || return 1
    echo "$2" >"/sys/bus/pci/devices/$1/sriov_numvfs" ||
        host_vm_say "$1 ($(pci_driver "$1")) refuses $2 VFs: $(dmesg | tail -n 1)"
}

# pci_vf PF INDEX: the address of that VF, counted from 0.
pci_vf() { basename "$(readlink "/sys/bus/pci/devices/$1/virtfn$2")"; }

# iommu_group ADDRESS: its number.
iommu_group() {
    [ -e "/sys/bus/pci/devices/$1/iommu_group" ] || host_vm_say "$1 is in no IOMMU group" || return 1
    basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"
}

# vfio_cdev ADDRESS: /dev/vfio/devices/vfioN of a bound device.
vfio_cdev() {
    local dev
    for dev in "/sys/bus/pci/devices/$1/vfio-dev"/vfio*; do
        [ -e "$dev" ] || host_vm_say "$1 has no VFIO character device" || return 1
        echo "/dev/vfio/devices/$(basename "$dev")"
        return
    done
}

# huge_pages MIB: so much memory in pages of 2 MiB, and /dev/hugepages.
huge_pages() {
    echo $((($1 + 1) / 2)) >/proc/sys/vm/nr_hugepages
    [ "$(cat /proc/sys/vm/nr_hugepages)" -ge $((($1 + 1) / 2)) ] ||
        host_vm_say "only $(cat /proc/sys/vm/nr_hugepages) huge pages; give the VM more --memory" || return 1
    [ -e /dev/hugepages ] || { mkdir /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages; }
}
