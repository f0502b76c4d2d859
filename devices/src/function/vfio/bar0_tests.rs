// SPDX-License-Identifier: Apache-2.0

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::contract::mock::PATIENCE;

/// The rules of the kernel's region, written down from legacy_io.c; the real one is met in the host VM.
#[derive(Default)]
struct Kernel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    msix: bool,
    decoded: bool,
    busy: u32,
    answer: Option<i32>,
    log: Vec<(u64, usize, Option<u64>)>,
}

impl Kernel {
    fn access(&self, offset: u64, width: Width, value: Option<u64>) -> FunctionResult<u64> {
        let mut state = self.state.lock().unwrap();
        let refuse = |code| {
            let source = io::Error::from_raw_os_error(code);
            Err(FunctionError::Io { name: "vf".into(), what: "read a BAR", source })
        };
        if !state.decoded {
            return refuse(libc::EIO);
        }
        if offset + width.bytes() as u64 > 32 {
            return refuse(libc::EINVAL);
        }
        state.log.push((offset, width.bytes(), value));
        if state.busy > 0 {
            state.busy -= 1;
            return refuse(libc::EAGAIN);
        }
        state.answer.map_or(Ok(0x55), refuse)
    }
}

impl Region for Kernel {
    fn size(&self) -> u64 {
        32
    }
    fn is_msix_enabled(&self) -> bool {
        self.state.lock().unwrap().msix
    }
    fn read(&self, offset: u64, width: Width) -> FunctionResult<u64> {
        self.access(offset, width, None)
    }
    fn write(&self, offset: u64, width: Width, value: u64) -> FunctionResult<()> {
        self.access(offset, width, Some(value)).map(drop)
    }
    fn is_decoded(&self) -> FunctionResult<bool> {
        Ok(self.state.lock().unwrap().decoded)
    }
    fn decode(&self) -> FunctionResult<()> {
        self.state.lock().unwrap().decoded = true;
        Ok(())
    }
}

struct Bench {
    kernel: Arc<Kernel>,
    registers: VfioBar0Registers,
    cancelled: AtomicBool,
    limit: Duration,
}

impl Bench {
    fn new(msix: bool) -> Self {
        let kernel = Arc::new(Kernel::default());
        *kernel.state.lock().unwrap() = State { msix, decoded: true, ..State::default() };
        let registers = VfioBar0Registers { region: kernel.clone(), name: "vf".into(), notify: Vec::new() };
        Self { kernel, registers, cancelled: AtomicBool::new(false), limit: PATIENCE }
    }

    fn wait(&self) -> Wait<'_> {
        Wait { deadline: Instant::now() + self.limit, cancelled: &self.cancelled }
    }

    fn read(&self, area: Area, offset: u8, width: Width) -> Result<u32, RegisterError> {
        self.registers.read(area, offset, width, &self.wait())
    }

    fn log(&self) -> Vec<(u64, usize, Option<u64>)> {
        std::mem::take(&mut self.kernel.state.lock().unwrap().log)
    }
}

#[test]
fn device_configuration_moves_with_the_hosts_msix() {
    let bench = Bench::new(false);
    bench.read(Area::Device, 6, Width::B2).unwrap();
    bench.kernel.state.lock().unwrap().msix = true;
    bench.read(Area::Device, 6, Width::B2).unwrap();
    bench.registers.write(Area::Common, 22, Width::B2, 1, &bench.wait()).unwrap();
    assert_eq!(bench.log(), [(26, 2, None), (30, 2, None), (22, 2, Some(1))]);
}

#[test]
fn what_the_region_does_not_hold_is_not_asked_for() {
    let bench = Bench::new(false);
    // Without the host's MSI-X the vectors are not there: 20 is device configuration.
    for (area, offset, width) in [
        (Area::Common, 20, Width::B2),
        (Area::Common, 18, Width::B4),
        (Area::Device, 12, Width::B1),
        (Area::Device, 255, Width::B4),
    ] {
        assert!(matches!(bench.read(area, offset, width), Err(RegisterError::NoSuchRegister { .. })), "{offset}");
    }
    bench.read(Area::Device, 8, Width::B4).unwrap();
    bench.kernel.state.lock().unwrap().msix = true;
    assert!(matches!(bench.read(Area::Device, 8, Width::B1), Err(RegisterError::NoSuchRegister { .. })));
    assert!(matches!(bench.read(Area::Common, 0, Width::B8), Err(RegisterError::NoSuchRegister { .. })));
    assert_eq!(bench.log().len(), 1);
}

#[test]
fn io_decoding_is_switched_on_again_after_a_foreign_reset() {
    let bench = Bench::new(false);
    bench.kernel.state.lock().unwrap().decoded = false;
    assert_eq!(bench.read(Area::Common, 18, Width::B1), Ok(0x55));
    assert_eq!(bench.log().len(), 1);
}

#[test]
fn refusals_and_failures_of_the_device() {
    let bench = Bench::new(false);
    let answer = |code| {
        bench.kernel.state.lock().unwrap().answer = Some(code);
        bench.read(Area::Common, 18, Width::B1).unwrap_err()
    };
    assert_eq!(answer(libc::EINVAL), RegisterError::Refused(Answer { status: 22, qualifier: 0 }));
    assert!(matches!(answer(libc::EIO), RegisterError::Function(text) if text.contains("Input/output error")));
    assert!(matches!(answer(libc::EOPNOTSUPP), RegisterError::Function(text) if text.contains("physical function")));
    assert_eq!(bench.log().len(), 3, "no access is repeated");
}

#[test]
fn a_busy_device_is_asked_again_until_the_deadline() {
    let mut bench = Bench::new(false);
    bench.kernel.state.lock().unwrap().busy = 3;
    assert_eq!(bench.read(Area::Common, 18, Width::B1), Ok(0x55));
    assert_eq!(bench.log().len(), 4);
    bench.kernel.state.lock().unwrap().busy = u32::MAX;
    bench.limit = Duration::from_millis(200);
    let end = Instant::now() + bench.limit;
    let busy = RegisterError::Busy(Answer { status: libc::EAGAIN as u16, qualifier: 0 });
    assert_eq!(bench.read(Area::Common, 18, Width::B1), Err(busy));
    assert!(Instant::now() >= end);
    bench.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.log();
    assert_eq!(bench.read(Area::Common, 18, Width::B1), Err(RegisterError::Cancelled));
    assert!(bench.log().is_empty());
}

#[test]
fn only_network_cards_on_the_kernels_driver_have_its_registers() {
    let check = |driver, id, region| check("0000:41:00.2", driver, id, region).map_err(|error| error.to_string());
    assert_eq!(check("virtio_vfio_pci", 0x1041, Some(32)), Ok(()));
    let disk = check("virtio_vfio_pci", 0x1042, Some(32)).unwrap_err();
    assert!(
        disk.contains("device id 0x1042") && disk.contains("not a network card") && disk.contains("admin=pf"),
        "{disk}"
    );
    assert!(check("virtio_vfio_pci", 0x1042, None).unwrap_err().contains("not a network card"));
    assert!(check("virtio_vfio_pci", 0x1041, None).unwrap_err().contains("no legacy registers in region 0"));
    assert!(check("vfio-pci", 0x1042, None).unwrap_err().contains("is bound to vfio-pci"));
}

#[test]
fn what_can_be_reached_is_what_the_region_shows_with_msix_on() {
    assert_eq!(Bench::new(false).registers.config_reach(), Some(8));
    assert_eq!(Bench::new(true).registers.config_reach(), Some(8));
}
