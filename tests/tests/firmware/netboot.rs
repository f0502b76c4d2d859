// SPDX-License-Identifier: Apache-2.0
//! Booting from a network card: iPXE's ROM as Debian built it, with a DHCP, a TFTP and an HTTP server nobody here wrote.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::report::{check, device, last_boot};
use tests::{Kvm, binary, real_mode_kernel, workspace};

use super::seabios::Bench;

const ROM: &str = "/usr/lib/ipxe/qemu/pxe-virtio.rom";
/// What iPXE loads by HTTP; long enough for many segments.
const INITRD_SIZE: usize = 500 << 10;

/// A tap `t0` with a server for DHCP and TFTP on it, and one for HTTP; then the machine, and the servers' end.
/// Busybox, where it stands for the usual tools, makes taps by another name and has an HTTP server of its own.
const SCRIPT: &str = r#"
    ip link set lo up
    ip tuntap add t0 mode tap 2>/dev/null || tunctl -t t0 >/dev/null
    ip addr add 10.0.2.2/24 dev t0 && ip link set t0 up || exit 99
    dnsmasq --conf-file=/dev/null --pid-file= --dhcp-leasefile="$DIR/leases" --keep-in-foreground --port=0 \
        --interface=t0 --bind-interfaces --dhcp-range=10.0.2.10,10.0.2.20,1h --dhcp-boot=first.ipxe --enable-tftp \
        --tftp-root="$DIR/tftp" --user=root --group=root --log-facility=- >"$DIR/dnsmasq.log" 2>&1 &
    dhcp=$!
    if command -v python3 >/dev/null; then
        python3 -m http.server --bind 10.0.2.2 --directory "$DIR/http" 8000 >"$DIR/http.log" 2>&1 &
    else
        busybox httpd -f -vv -p 10.0.2.2:8000 -h "$DIR/http" >"$DIR/http.log" 2>&1 &
    fi
    http=$!
    # They listen at ports 67 and 8000.
    until grep -q ':0043 ' /proc/net/udp && grep -q ':1F40 ' /proc/net/tcp; do
        kill -0 $dhcp && kill -0 $http || exit 98
        sleep 0.1
    done
    timeout 300 "$HEIRLOOM" run --memory=256M --legacy-virtio=soft=net,tap=t0,id=net --no-reboot \
        --report "$DIR/report.json"
    code=$?
    kill $dhcp $http
    exit $code
"#;

/// Why this cannot run.
pub(crate) fn lack() -> Option<&'static str> {
    let there = |tool: &str, word: &str| Command::new(tool).arg(word).output().is_ok();
    if !Path::new(ROM).is_file() {
        return Some("iPXE's ROM is not installed (Debian: apt install ipxe-qemu)");
    }
    if !there("dnsmasq", "--version") {
        return Some("dnsmasq is not installed (Debian: apt install dnsmasq-base)");
    }
    if !there("python3", "--version") && !there("busybox", "true") {
        return Some("there is neither python3 nor busybox to serve HTTP");
    }
    let tap = "ip tuntap add t0 mode tap || tunctl -t t0";
    let made = Command::new("unshare").args(["-n", "sh", "-c", tap]).output().is_ok_and(|o| o.status.success());
    (!made).then_some("no tap in a network namespace (needs root, /dev/net/tun, ip and unshare)")
}

/// A file of `scripts/lib/guests.sh`.
fn guest(name: &str) -> PathBuf {
    env::var_os("HEIRLOOM_GUESTS").map_or_else(|| workspace().join("target/guests"), PathBuf::from).join(name)
}

/// Why Debian's kernel cannot be booted.
pub(crate) fn lack_of_debian(kvm: Kvm) -> Option<&'static str> {
    if kvm != Kvm::Fast {
        return Some("/dev/kvm only emulates; scripts/test runs this in the host VM");
    }
    let there = guest("stock.bzImage").exists() && guest("initramfs-stock.cpio").exists();
    lack().or((!there).then_some("there is no stock kernel in target/guests; scripts/lib/guests.sh makes it"))
}

/// A kernel of our own with an initial RAM disk, which it finds whole.
pub(crate) fn ipxe_boots_a_kernel() -> Result<(), String> {
    let mut initrd = b"what iPXE read\0".to_vec();
    initrd.resize(INITRD_SIZE, 0x5a);
    boots(&real_mode_kernel()?, &initrd, "chosen=second", &["KERNEL", "chosen=second", "INITRD what iPXE read"])
}

/// Debian's own kernel, with an initial RAM disk whose drivers take the card over from iPXE and use it.
pub(crate) fn ipxe_boots_debian() -> Result<(), String> {
    let read = |name: &str| fs::read(guest(name)).map_err(|e| format!("{name}: {e}"));
    let words = "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable virtio_pci.force_legacy=1 heirloom.expect=1 \
                 heirloom.net=10.0.2.15/24,10.0.2.2";
    let prints = ["pciid=1af4:1000", "legacy=yes", "sent=3 received=3", "HEIRLOOM-DONE ok"];
    boots(&read("stock.bzImage")?, &read("initramfs-stock.cpio")?, words, &prints)
}

/// DHCP, a script by TFTP, one by HTTP, and a kernel with an initial RAM disk by HTTP; the kernel prints what it shall.
fn boots(kernel: &[u8], initrd: &[u8], words: &str, prints: &[&str]) -> Result<(), String> {
    let bench = Bench::new(&[0; 512], "")?;
    let failed = |e: std::io::Error| e.to_string();
    for folder in ["tftp", "http"] {
        fs::create_dir(bench.path(folder)).map_err(failed)?;
    }
    let write = |name: &str, content: &[u8]| fs::write(bench.path(name), content).map_err(failed);
    write("tftp/first.ipxe", b"#!ipxe\necho BY-TFTP\nchain http://10.0.2.2:8000/second.ipxe\n")?;
    write(
        "http/second.ipxe",
        format!(
            "#!ipxe\necho BY-HTTP\nkernel http://10.0.2.2:8000/kernel {words}\n\
             initrd http://10.0.2.2:8000/initrd\nboot\n"
        )
        .as_bytes(),
    )?;
    write("http/kernel", kernel)?;
    write("http/initrd", initrd)?;

    let mut shell = Command::new("unshare");
    shell.args(["-n", "sh", "-c", SCRIPT]).env("DIR", bench.path("")).env("HEIRLOOM", binary()?).stdin(Stdio::null());
    let output = shell.output().map_err(failed)?;
    let log = |name: &str| fs::read_to_string(bench.path(name)).unwrap_or_default();
    let (dhcp, http) = (log("dnsmasq.log"), log("http.log"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let all = || format!("{}\n{text}\n{dhcp}\n{http}", output.status);
    if !output.status.success() {
        return Err(all());
    }
    for wanted in ["iPXE 1.", "BY-TFTP", "BY-HTTP"].iter().chain(prints) {
        if !text.contains(wanted) {
            return Err(format!("'{wanted}' was not printed: {}", all()));
        }
    }
    for (log, wanted) in [(&dhcp, "DHCPACK(t0)"), (&dhcp, "first.ipxe to 10.0.2."), (&http, "/initrd")] {
        if !log.contains(wanted) {
            return Err(format!("'{wanted}' is not in a server's log: {}", all()));
        }
    }
    let boot = last_boot(&bench.path("report.json"))?;
    let net = device(&boot, "net")?;
    check(net["kicks"]["ioeventfd"].as_u64() > Some(100), "too few kicks", net)?;
    check(net["kicks"]["early"].as_u64() >= Some(1), "iPXE kicks before it says that it is there", net)?;
    check(net["faulted"].is_null(), "the card is out of service", net)
}
