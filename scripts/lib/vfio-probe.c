// SPDX-License-Identifier: Apache-2.0
//
// vfio-probe group|cdev ADDRESS [TOKEN]: opens a PCI function through VFIO, by its group and a type 1 IOMMU or by its
// character device and IOMMUFD, maps memory for DMA, resets it, and prints its ids and the first four bytes of BAR 2
// (0 if there is none). For the self-test of scripts/host-vm; exit code 1 says on stderr what failed.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/vfio.h>

#define MAPPED (4ul << 20)
#define IOVA 0x40000000ul

// Debian 12's headers are older than the kernel: from linux/vfio.h and linux/iommufd.h of 6.12.
struct bind_iommufd {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t devid;
};
struct attach_pt {
    uint32_t argsz, flags, pt_id;
};
struct ioas_alloc {
    uint32_t size, flags, ioas_id;
};
struct ioas_map {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
};
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#define IOAS_ALLOC _IO(VFIO_TYPE, 0x81)
#define IOAS_MAP _IO(VFIO_TYPE, 0x85)
#define IOAS_MAP_FIXED_READ_WRITE 7

static void check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "vfio-probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *memory(void)
{
    void *made = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    check(made != MAP_FAILED, "mmap");
    return made;
}

static int open_group(const char *address, const char *token)
{
    char path[128], link[256], name[128];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
    ssize_t length = readlink(path, link, sizeof(link) - 1);
    check(length > 0, path);
    link[length] = 0;
    snprintf(path, sizeof(path), "/dev/vfio/%s", basename(link));
    int container = open("/dev/vfio/vfio", O_RDWR);
    check(container >= 0, "/dev/vfio/vfio");
    int group = open(path, O_RDWR);
    check(group >= 0, path);
    check(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
    check(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)memory(),
        .iova = IOVA,
        .size = MAPPED,
    };
    check(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "VFIO_IOMMU_MAP_DMA");
    snprintf(name, sizeof(name), token ? "%s vf_token=%s" : "%s", address, token);
    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
    check(device >= 0, "VFIO_GROUP_GET_DEVICE_FD");
    return device;
}

static int open_cdev(const char *address)
{
    char path[300];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", address);
    DIR *folder = opendir(path);
    check(folder != NULL, path);
    struct dirent *entry;
    while ((entry = readdir(folder)) && strncmp(entry->d_name, "vfio", 4))
        ;
    check(entry != NULL, path);
    snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
    int device = open(path, O_RDWR);
    check(device >= 0, path);
    int iommufd = open("/dev/iommu", O_RDWR);
    check(iommufd >= 0, "/dev/iommu");
    struct bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
    check(!ioctl(device, BIND_IOMMUFD, &bind), "VFIO_DEVICE_BIND_IOMMUFD");
    struct ioas_alloc ioas = { .size = sizeof(ioas) };
    check(!ioctl(iommufd, IOAS_ALLOC, &ioas), "IOMMU_IOAS_ALLOC");
    struct attach_pt attach = { .argsz = sizeof(attach), .pt_id = ioas.ioas_id };
    check(!ioctl(device, ATTACH_PT, &attach), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
    struct ioas_map map = {
        .size = sizeof(map),
        .flags = IOAS_MAP_FIXED_READ_WRITE,
        .ioas_id = ioas.ioas_id,
        .user_va = (uintptr_t)memory(),
        .length = MAPPED,
        .iova = IOVA,
    };
    check(!ioctl(iommufd, IOAS_MAP, &map), "IOMMU_IOAS_MAP");
    return device;
}

static uint32_t read_region(int device, unsigned index, uint64_t at, size_t size)
{
    struct vfio_region_info region = { .argsz = sizeof(region), .index = index };
    uint32_t value = 0;
    check(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region), "VFIO_DEVICE_GET_REGION_INFO");
    if (region.size)
        check(pread(device, &value, size, region.offset + at) == (ssize_t)size, "reading a region");
    return value;
}

static void enable_memory(int device)
{
    struct vfio_region_info region = { .argsz = sizeof(region), .index = VFIO_PCI_CONFIG_REGION_INDEX };
    uint16_t command = read_region(device, VFIO_PCI_CONFIG_REGION_INDEX, 4, 2) | 6;
    check(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region), "VFIO_DEVICE_GET_REGION_INFO");
    check(pwrite(device, &command, 2, region.offset + 4) == 2, "writing the Command register");
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: vfio-probe group|cdev ADDRESS [TOKEN]\n");
        return 2;
    }
    int device = strcmp(argv[1], "cdev") ? open_group(argv[2], argc > 3 ? argv[3] : NULL) : open_cdev(argv[2]);
    check(!ioctl(device, VFIO_DEVICE_RESET), "VFIO_DEVICE_RESET");
    enable_memory(device);
    printf("%s %04x:%04x bar2 %u\n", argv[2], read_region(device, VFIO_PCI_CONFIG_REGION_INDEX, 0, 2),
           read_region(device, VFIO_PCI_CONFIG_REGION_INDEX, 2, 2), read_region(device, VFIO_PCI_BAR2_REGION_INDEX, 0, 4));
    // Holds the device for whoever wants to see it held.
    if (argc > 4 && !strcmp(argv[4], "hold")) {
        fflush(stdout);
        pause();
    }
    return 0;
}
