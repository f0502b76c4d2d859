// SPDX-License-Identifier: Apache-2.0
//! A function passed through to a small guest on KVM: its BAR is used without exits, moves, goes and
//! comes with COMMAND, and is never over RAM or another BAR.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use devices::bus::{Access, Bus, Effect, IoDevice, Range, Width};
use devices::contract::mock::{MockFunction, PATIENCE, wait_until};
use devices::function::{MappableArea, Region};
use devices::passthrough::{PassthroughDevice, PassthroughParts};
use devices::pci::{CONFIG_PORTS, PciDevice, PciRoot};

use crate::kvm::test_guest::{RAM, TestGuest};
use crate::kvm::{BarMapper, MsiRoutes};
use crate::vcpu::{Board, VcpuState, Vcpus};

/// Where firmware puts BAR 0, and where the guest moves it.
const FIRST: u32 = 0xc000_0000;
const SECOND: u32 = 0xd000_0000;

/// A function whose BAR 0 is a file of two pages, the second of which is not mappable.
struct FileFunction {
    file: Arc<File>,
    trapped: Arc<AtomicU64>,
    /// Holders of the file while it is mapped nowhere.
    holders: usize,
}

impl FileFunction {
    fn new() -> (Self, MockFunction) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x2000).unwrap();
        let mut this = Self { file: Arc::new(file), trapped: Arc::default(), holders: 0 };
        let area = MappableArea { offset: 0, size: 0x1000, file: this.file.clone(), file_offset: 0 };
        let ((read, written), (reads, writes)) =
            ((this.file.clone(), this.file.clone()), (this.trapped.clone(), this.trapped.clone()));
        let function = MockFunction::new("file")
            .with_config(0, &[0x34, 0x12, 0x78, 0x56])
            .with_fixed_config()
            .with_bar(0, Region { size: 0x2000, is_io: false, is_64bit: false, prefetchable: false })
            .with_mappable(0, area)
            .on_read(move |_, offset, _| {
                reads.fetch_add(1, Ordering::SeqCst);
                Some(word(&read, offset).into())
            })
            .on_write(move |_, offset, _, value| {
                writes.fetch_add(1, Ordering::SeqCst);
                written.write_all_at(&(value as u32).to_le_bytes(), offset).unwrap();
                true
            });
        this.holders = Arc::strong_count(&this.file);
        (this, function)
    }

    fn word(&self, offset: u64) -> u32 {
        word(&self.file, offset)
    }
}

fn word(file: &File, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset).unwrap();
    u32::from_le_bytes(bytes)
}

/// What the guest says at the end of each step: a port that remembers.
#[derive(Default)]
struct Notebook {
    words: Mutex<Vec<u32>>,
}

impl IoDevice for Notebook {
    fn name(&self) -> &str {
        "notebook"
    }
    fn read(&self, access: Access) -> u64 {
        access.width.all_ones()
    }
    fn write(&self, _: Access, value: u64) -> Effect {
        let mut words = self.words.lock().unwrap();
        words.push(value as u32);
        if value as u32 == END { Effect::PowerOff } else { Effect::None }
    }
}

const END: u32 = 0xe0e0_e0e0;
const NOTEBOOK: u16 = 0xc00;

/// Assembles what the guest does, in 32-bit code.
#[derive(Default)]
struct Program(Vec<u8>);

impl Program {
    fn out(mut self, port: u16, value: u32) -> Self {
        self.0.push(0xb8); // mov eax, value
        self.0.extend(value.to_le_bytes());
        self.0.push(0xba); // mov edx, port
        self.0.extend(u32::from(port).to_le_bytes());
        self.0.push(0xef); // out dx, eax
        self
    }
    /// A write to the configuration space of slot 1.
    fn config(self, register: u32, value: u32) -> Self {
        self.out(0xcf8, 0x8000_0800 | register).out(0xcfc, value)
    }
    fn store(mut self, address: u32, value: u32) -> Self {
        self.0.extend([0xc7, 0x05]); // mov dword [address], value
        self.0.extend(address.to_le_bytes());
        self.0.extend(value.to_le_bytes());
        self
    }
    /// Loads a word and writes it down.
    fn note(mut self, address: u32) -> Self {
        self.0.push(0xa1); // mov eax, [address]
        self.0.extend(address.to_le_bytes());
        self.0.push(0xba);
        self.0.extend(u32::from(NOTEBOOK).to_le_bytes());
        self.0.push(0xef);
        self
    }
    fn end(self) -> Vec<u8> {
        let mut program = self.out(NOTEBOOK, END);
        program.0.extend([0xeb, 0xfe]); // jmp $
        program.0
    }
}

/// How a guest ran.
struct Ran {
    function: FileFunction,
    device: Arc<PassthroughDevice>,
    notes: Vec<u32>,
    /// Exits for memory accesses.
    memory_exits: u64,
    root: Arc<PciRoot>,
}

/// Runs a program with the function in slots 1 and 2, or `None` without KVM. Firmware has placed the
/// second one's BAR at [`SECOND`] + 1 MiB.
fn run(program: Program) -> Option<Ran> {
    let guest = TestGuest::new(&program.end())?;
    let (ports, memory) = (Arc::new(Bus::new("ports")), Arc::new(Bus::new("memory")));
    let root = Arc::new(PciRoot::new());
    root.set_mapper(Arc::new(BarMapper::new(&guest.vm)));
    let notebook = Arc::new(Notebook::default());
    ports.insert(Range::new(0xcf8, CONFIG_PORTS).unwrap(), root.clone()).unwrap();
    ports.insert(Range::new(NOTEBOOK.into(), 4).unwrap(), notebook.clone()).unwrap();
    let msi = Arc::new(MsiRoutes::new(&guest.vm).unwrap());
    let mut functions = Vec::new();
    for (slot, base) in [(1, FIRST), (2, SECOND + 0x10_0000)] {
        let (function, mock) = FileFunction::new();
        let parts = PassthroughParts { function: Arc::new(mock), msi: msi.clone(), irq_line: None, irq_number: 11 };
        let device = PassthroughDevice::new("dev", parts).unwrap();
        device.place_bar(0, base.into());
        let _ = device.config_write(4, Width::B2, 2);
        root.add(slot, device.clone()).unwrap();
        functions.push((function, device));
    }
    root.remap(&ports, &memory);
    let board = Board {
        remap: {
            let (root, ports, memory) = (root.clone(), ports.clone(), memory.clone());
            Arc::new(move || root.remap(&ports, &memory))
        },
        ports,
        memory,
        cancelled: Arc::new(AtomicBool::new(false)),
        thread_init: None,
    };
    let vcpu = guest.vcpu(0);
    vcpu.configure(&guest.protected_mode(&vcpu)).unwrap();
    let vcpus = Vcpus::start(vec![vcpu], &board, VcpuState::Running).unwrap();
    wait_until("the guest ends", || vcpus.exit_reason().is_some());
    vcpus.stop(PATIENCE).unwrap();
    let counts = vcpus.vcpu(0).unwrap().stats().counts();
    let mut notes = notebook.words.lock().unwrap().clone();
    assert_eq!(notes.pop(), Some(END));
    let (function, device) = functions.remove(0);
    Some(Ran {
        function,
        device,
        notes,
        memory_exits: counts.get(crate::vcpu::ExitKind::MmioRead) + counts.get(crate::vcpu::ExitKind::MmioWrite),
        root,
    })
}

#[test]
fn a_mapped_bar_is_used_without_exits_and_the_page_beside_it_with() {
    let program = Program::default().store(FIRST, 0x1111).note(FIRST).store(FIRST + 0x1004, 0x2222);
    let Some(ran) = run(program.note(FIRST + 0x1004)) else { return };
    assert_eq!(ran.notes, [0x1111, 0x2222]);
    assert_eq!((ran.function.word(0), ran.function.word(0x1004)), (0x1111, 0x2222));
    assert_eq!(ran.memory_exits, 2, "for the page that is not mappable");
    assert_eq!(ran.function.trapped.load(Ordering::SeqCst), 2);
    assert_eq!(ran.root.mapped_bytes(1), 0x1000);
}

#[test]
fn the_mapping_follows_the_bar() {
    let program = Program::default().store(FIRST, 1).config(0x10, SECOND).note(SECOND).note(FIRST).store(SECOND, 2);
    let Some(ran) = run(program) else { return };
    assert_eq!(ran.notes, [1, u32::MAX], "the old place is nobody's");
    assert_eq!(ran.function.word(0), 2);
    assert_eq!(ran.memory_exits, 1, "the read at the old place");
}

#[test]
fn without_memory_decoding_nothing_is_mapped() {
    let program = Program::default().store(FIRST, 7).config(4, 0).note(FIRST).store(FIRST, 8).config(4, 2).note(FIRST);
    let Some(ran) = run(program) else { return };
    assert_eq!(ran.notes, [u32::MAX, 7], "the write in between went nowhere");
    assert_eq!(ran.memory_exits, 2);
}

#[test]
fn a_bar_on_ram_leaves_the_ram_alone() {
    let place = (RAM - 0x2000) as u32;
    let program = Program::default().store(place, 0xaaaa).config(0x10, place).store(place, 0xbbbb).note(place);
    let Some(ran) = run(program.config(0x10, FIRST).note(FIRST).note(place)) else { return };
    assert_eq!(ran.notes, [0xbbbb, 0, 0xbbbb], "RAM all the time, and the BAR unharmed");
    assert_eq!(ran.memory_exits, 0);
}

#[test]
fn a_bar_on_another_bar_is_not_mapped_over_it() {
    let other = SECOND + 0x10_0000;
    // Slot 1 goes before slot 2, which loses its place and gets it back.
    let program = Program::default().store(FIRST, 1).store(other, 2).config(0x10, other).note(other);
    let Some(ran) = run(program.config(0x10, FIRST).note(other).note(FIRST)) else { return };
    assert_eq!(ran.notes, [1, 2, 1]);
    assert_eq!(ran.memory_exits, 0);
}

#[test]
fn a_function_that_is_taken_away_is_unmapped() {
    let Some(ran) = run(Program::default().store(FIRST, 1)) else { return };
    assert_eq!(ran.root.mapped_bytes(1), 0x1000);
    ran.device.taken_away("unplugged");
    ran.root.remap(&Bus::new("ports"), &Bus::new("memory"));
    assert_eq!((ran.root.mapped_bytes(1), ran.root.mapped_bytes(2)), (0, 0x1000));
    assert_eq!(Arc::strong_count(&ran.function.file), ran.function.holders, "nobody else holds the file");
}
