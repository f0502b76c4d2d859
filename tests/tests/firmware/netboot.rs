// SPDX-License-Identifier: Apache-2.0
//! Booting from a network card: iPXE's ROM as Debian built it, with a DHCP, a TFTP and an HTTP server nobody here wrote.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::report::{check, device, last_boot};
use tests::{binary, real_mode_kernel};

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
    timeout 300 "$HEIRLOOM" run --memory=64M --legacy-virtio=soft=net,tap=t0,id=net --no-reboot \
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

/// DHCP, a script by TFTP, one by HTTP, and a kernel with an initial RAM disk by HTTP, which the kernel finds whole.
pub(crate) fn ipxe_boots_a_kernel() -> Result<(), String> {
    let bench = Bench::new(&[0; 512], "")?;
    let failed = |e: std::io::Error| e.to_string();
    for folder in ["tftp", "http"] {
        fs::create_dir(bench.path(folder)).map_err(failed)?;
    }
    let write = |name: &str, content: &[u8]| fs::write(bench.path(name), content).map_err(failed);
    write("tftp/first.ipxe", b"#!ipxe\necho BY-TFTP\nchain http://10.0.2.2:8000/second.ipxe\n")?;
    write(
        "http/second.ipxe",
        b"#!ipxe\necho BY-HTTP\nkernel http://10.0.2.2:8000/kernel chosen=second\n\
          initrd http://10.0.2.2:8000/initrd\nboot\n",
    )?;
    write("http/kernel", &real_mode_kernel()?)?;
    let mut initrd = b"what iPXE read\0".to_vec();
    initrd.resize(INITRD_SIZE, 0x5a);
    write("http/initrd", &initrd)?;

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
    for wanted in ["iPXE 1.", "BY-TFTP", "BY-HTTP", "KERNEL", "chosen=second", "INITRD what iPXE read"] {
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
