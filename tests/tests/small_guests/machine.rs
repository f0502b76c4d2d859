// SPDX-License-Identifier: Apache-2.0
//! Memory, processors, chips, resets, and drivers that do what none should.

use tests::Kvm;
use tests::report::{boot_count, check, device, number};

use crate::bench::Bench;
use crate::functions::disk_works;

pub(crate) fn scenario(cmdline: &str, output: &str) -> Result<(), String> {
    Bench::new(cmdline)?.run()?.0.expect_output(output)?;
    Ok(())
}

fn boots_twice(bench: &Bench) -> Result<(), String> {
    let count = boot_count(&bench.report_path())?;
    if count == 2 { Ok(()) } else { Err(format!("{count} boots instead of 2")) }
}

/// The guest resets itself once and finds on the disk what it wrote before.
pub(crate) fn reboot() -> Result<(), String> {
    let bench = Bench::new("test=reboot irq=pic")?;
    bench.run()?.0.expect_output("GUEST came back")?;
    boots_twice(&bench)
}

/// Clock and keyboard interrupt, and the clock keeps what it was told; by both kinds of interrupt controller.
pub(crate) fn chips(irq: &str) -> Result<(), String> {
    let bench = Bench::new(&format!("test=chips irq={irq}"))?;
    let finished = bench.run()?.0.expect_output("GUEST has a keyboard")?;
    finished.expect_output("GUEST has a clock that interrupts")?;
    boots_twice(&bench)
}

/// A disk works in machines with so much memory.
pub(crate) fn memory(sizes: &[&'static str]) -> Result<(), String> {
    for size in sizes {
        let mut bench = Bench::new("test=blk irq=pic")?;
        bench.memory = size;
        disk_works(&bench)?;
    }
    Ok(())
}

/// As many as 32-bit Linux of the time took; each is started by INIT and a start-up message.
pub(crate) fn processors_1_to_32() -> Result<(), String> {
    for count in [1, 2, 32] {
        let expected = format!("GUEST smp processors={count}");
        let bench = Bench::new(&format!("test=smp cpus={count} count=2"))?.word(&format!("--cpus={count}"));
        bench.run()?.0.expect_output(&expected)?;
    }
    Ok(())
}

pub(crate) fn cpu_host() -> Result<(), String> {
    let mut bench = Bench::new("test=hello")?;
    bench.cpu = "host";
    bench.run()?;
    Ok(())
}

/// The processor of the year, as the host's maker had it, and nothing newer; the same guest runs on it.
pub(crate) fn cpu_of_a_year() -> Result<(), String> {
    // Signatures and highest leaves of Intel's and AMD's; flags that came later.
    let years = [
        ("x86_64-2006", [(0x6f6, 4), (0x40f13, 1)], 0x0298_0002_u64),
        ("x86_64-2010", [(0x206c2, 6), (0x100f42, 5)], 0x1000_0000),
    ];
    for (cpu, processors, later) in years {
        let mut bench = Bench::new("test=cpuid")?;
        bench.cpu = cpu;
        let output = bench.run()?.0.stdout;
        let value = |name: &str| {
            let (_, rest) = output.split_once(&format!("{name}=0x"))?;
            let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            u64::from_str_radix(&digits, 16).ok()
        };
        let seen = (value("signature").unwrap_or(0), value("basic").unwrap_or(0));
        if !processors.contains(&seen) || value("extended") != Some(0x8000_0008) || !output.contains("wide=1") {
            return Err(format!("{cpu} is another processor: {output}"));
        }
        // A KVM that interprets shows flags of its host besides those that it was told.
        if Kvm::find() == Kvm::Fast && value(" ecx").is_none_or(|flags| flags & later != 0) {
            return Err(format!("{cpu} has flags that came later: {output}"));
        }
        let mut bench = Bench::new("test=blk irq=msix")?;
        bench.cpu = cpu;
        disk_works(&bench)?;
    }
    Ok(())
}

pub(crate) fn a_32_bit_processor_runs_no_64_bit_kernel() -> Result<(), String> {
    let mut bench = Bench::new("test=hello")?;
    bench.cpu = "i686-2001";
    bench.start()?.finish()?.expect_code(3)?.expect_error("--cpu i686-2001 is a 32-bit processor")?;
    Ok(())
}

pub(crate) fn smp() -> Result<(), String> {
    Bench::new("test=smp cpus=4 count=100")?.word("--cpus=4").run()?.0.expect_output("GUEST smp processors=4")?;
    Ok(())
}

pub(crate) fn sweep() -> Result<(), String> {
    let (_, report) = Bench::new("test=sweep")?.run()?;
    let disk = device(&report, "disk")?;
    check(number(&disk["kicks"]["dropped"])? >= 1, "kicks of queues that are not set up are not counted", disk)
}

pub(crate) fn abuse() -> Result<(), String> {
    let bench = Bench::new("test=abuse bytes=2048")?;
    let before = bench.disk.bytes()?;
    let (finished, report) = bench.run()?;
    finished.expect_output("works after garbage for the configuration ports")?;
    if bench.disk.bytes()? != before {
        return Err("a guest that only reads has written".to_owned());
    }
    for id in ["disk", "net"] {
        let device = device(&report, id)?;
        check(number(&device["rings_broken"])? >= 10, "broken rings are not counted", device)?;
        check(device["faulted"].is_null(), "a device is out of service", device)?;
    }
    Ok(())
}

pub(crate) fn quarrel() -> Result<(), String> {
    Bench::new("test=quarrel cpus=4 count=200")?.word("--cpus=4").run()?;
    Ok(())
}

pub(crate) fn crash() -> Result<(), String> {
    let finished = Bench::new("test=crash")?.start()?.finish()?;
    // What KVM makes of it differs: an emulation failure, or a triple fault and so a reset.
    match finished.code {
        Some(4) => {
            finished.expect_error("rip")?;
            Ok(())
        }
        code => Err(format!("exit code {code:?}\n{finished}")),
    }
}

pub(crate) fn reset_ends_with_no_reboot() -> Result<(), String> {
    Bench::new("test=reset")?.word("--no-reboot").start()?.finish()?.expect_code(6)?;
    Ok(())
}
