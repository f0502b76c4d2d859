// SPDX-License-Identifier: Apache-2.0
//! Fields of Cloud Hypervisor's `VmConfig` that Heirloom's does not have. Clients written for it send many of
//! them with values that ask for nothing; such values are taken, everything else is refused by name.
//! This table is also what the OpenAPI document and docs/api.md say about them. Pure.

use serde_json::{Map, Value, json};

use crate::{Code, Fault};

/// Which values of a field are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Only what asks for nothing: null, false, or an empty list.
    Absent,
    /// `true`, which is how Heirloom works anyway, and null.
    On,
    /// Any value: no guest could tell the difference.
    Anything,
    /// One of these texts, and null.
    Texts(&'static [&'static str]),
    /// An object whose `mode` is one of these texts, and null.
    Modes(&'static [&'static str]),
    /// An object in which everything is false or null, and null.
    AllOff,
    /// A number that is not below this other field of the same object.
    AtLeast(&'static str),
    /// The number 0, and null.
    Zero,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct ForeignField {
    /// The object it is in: `""` for the configuration itself, else one of its fields.
    pub object: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What is taken.
    pub accept: Accept,
    /// Why, and what to write instead.
    pub note: &'static str,
}

const fn field(object: &'static str, name: &'static str, accept: Accept, note: &'static str) -> ForeignField {
    ForeignField { object, name, accept, note }
}

const SOFT_BLK: &str = "a disk is a legacy_virtio entry: {\"soft\": {\"blk\": {\"file\": PATH}}}";
const SOFT_NET: &str = "a network card is a legacy_virtio entry: {\"soft\": {\"net\": {\"backend\": {\"tap\": NAME}}}}";
const USER_DEVICE: &str = "such a function is a devices entry: {\"vfio_user\": SOCKET}";
/// The object of fields that each entry of `devices` has.
pub const DEVICES: &str = "devices";
/// What stands for an address in Cloud Hypervisor's `devices`.
pub const PATH: &str = "path";
/// What a path ends in: domain, bus, device and function of a PCI function (`PCI_SLOT`, `PCI_FUNC` in Linux).
pub const PATH_PATTERN: &str = r"^.*/[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]/*$";
const NO_DEVICE: &str = "there is no such device; old guests have no driver for it";
const NO_HOTPLUG: &str = "memory cannot be added to a running guest";

/// All fields that are known and not Heirloom's own.
pub const FOREIGN: &[ForeignField] = &[
    field("", "disks", Accept::Absent, SOFT_BLK),
    field("", "net", Accept::Absent, SOFT_NET),
    field("", "user_devices", Accept::Absent, USER_DEVICE),
    field("", "vdpa", Accept::Absent, NO_DEVICE),
    field("", "fs", Accept::Absent, NO_DEVICE),
    field("", "generic_vhost_user", Accept::Absent, NO_DEVICE),
    field("", "pmem", Accept::Absent, NO_DEVICE),
    field("", "vsock", Accept::Absent, NO_DEVICE),
    field("", "balloon", Accept::Absent, NO_DEVICE),
    field("", "tpm", Accept::Absent, NO_DEVICE),
    field("", "rtc", Accept::Absent, "the machine has a CMOS clock; there is no virtio one"),
    field("", "rng", Accept::Texts(&[]), "its `src` may be /dev/urandom or /dev/random; no device is made"),
    field("", "console", Accept::Modes(&["Off", "Null"]), "there is no virtio console: use `serial`"),
    field("", "debug_console", Accept::Modes(&["Off", "Null"]), "there is no debug console: use `serial`"),
    field("", "numa", Accept::Absent, "memory is one node"),
    field("", "pci_segments", Accept::Absent, "there is one PCI bus"),
    field("", "platform", Accept::AllOff, "there is nothing to choose"),
    field("", "rate_limit_groups", Accept::Absent, "there are no rate limits"),
    field("", "iommu", Accept::Absent, "the guest has no IOMMU"),
    field("", "watchdog", Accept::Absent, NO_DEVICE),
    field("", "pvpanic", Accept::Absent, NO_DEVICE),
    field("", "landlock_enable", Accept::Absent, "not by request"),
    field("", "landlock_rules", Accept::Absent, "not by request"),
    field("", "preserved_fds", Accept::Absent, "descriptors come with the request"),
    field("payload", "igvm", Accept::Absent, "give a kernel in `payload.kernel`, or a BIOS in `payload.firmware`"),
    field("payload", "host_data", Accept::Absent, "there are no confidential guests"),
    field("cpus", "max_vcpus", Accept::AtLeast("boot_vcpus"), "the guest gets boot_vcpus; none are added later"),
    field("cpus", "topology", Accept::Absent, "one thread per core, one socket"),
    field("cpus", "kvm_hyperv", Accept::Absent, "not offered"),
    field("cpus", "max_phys_bits", Accept::Anything, "the host's; old guests use far less"),
    field("cpus", "affinity", Accept::Absent, "pin the threads vcpu0, vcpu1, ... from outside"),
    field("cpus", "features", Accept::AllOff, "`cpus.profile` says what the guest sees"),
    field("cpus", "nested", Accept::Anything, "guests do not nest virtual machines: CPUID hides VMX and SVM"),
    field("cpus", "core_scheduling", Accept::Texts(&["Off"]), "not offered"),
    field("memory", "mergeable", Accept::Absent, "not offered"),
    field("memory", "hotplug_method", Accept::Anything, NO_HOTPLUG),
    field("memory", "hotplug_size", Accept::Zero, NO_HOTPLUG),
    field("memory", "hotplugged_size", Accept::Zero, NO_HOTPLUG),
    field("memory", "reserve", Accept::Absent, "not offered"),
    field("memory", "thp", Accept::On, "always asked for"),
    field("memory", "zones", Accept::Absent, "memory is one node"),
    field("serial", "socket", Accept::Absent, "use mode `File` or `Tty`"),
    field("serial", "iommu", Accept::Absent, "the guest has no IOMMU"),
    field(DEVICES, "iommu", Accept::Absent, "the guest has no IOMMU"),
    field(DEVICES, "pci_segment", Accept::Zero, "there is one PCI bus"),
    field(DEVICES, "x_nv_gpudirect_clique", Accept::Absent, "not offered"),
];

/// Heirloom's own fields in which null stands for the default, as clients of Cloud Hypervisor write it.
pub const NULL_IS_DEFAULT: &[(&str, &str)] =
    &[("", "devices"), ("memory", "hugepages"), ("memory", "prefault"), ("memory", "shared")];

/// Texts that mean the same as one of Heirloom's: object, field, theirs, ours.
pub const SYNONYMS: &[(&str, &str, &str, &str)] =
    &[("serial", "mode", "Null", "Off"), ("cpus", "profile", "Host", "host")];

/// Takes the foreign fields out of a configuration.
///
/// # Errors
/// The name of one that asks for something Heirloom does not have.
pub fn strip(config: &mut Value) -> Result<(), Fault> {
    for foreign in FOREIGN.iter().filter(|foreign| foreign.object != DEVICES) {
        let Some(object) = object_mut(config, foreign.object) else { continue };
        foreign.strip(object, &foreign.path())?;
    }
    for (object, name) in NULL_IS_DEFAULT {
        let Some(object) = object_mut(config, object) else { continue };
        if object.get(*name).is_some_and(Value::is_null) {
            object.remove(*name);
        }
    }
    let devices = config.get_mut(DEVICES).and_then(Value::as_array_mut);
    for (position, device) in devices.into_iter().flatten().enumerate() {
        strip_device(device, &format!("{DEVICES}[{position}]."))?;
    }
    for (object, name, theirs, ours) in SYNONYMS {
        if let Some(value) = object_mut(config, object).and_then(|object| object.get_mut(*name))
            && value == theirs
        {
            *value = json!(ours);
        }
    }
    Ok(())
}

/// Takes the foreign fields out of one entry of `devices`, and makes an address of its path. `place` is what
/// names of fields begin with in errors.
///
/// # Errors
/// See [`strip`].
pub fn strip_device(device: &mut Value, place: &str) -> Result<(), Fault> {
    let Some(object) = device.as_object_mut() else { return Ok(()) };
    for foreign in FOREIGN.iter().filter(|foreign| foreign.object == DEVICES) {
        foreign.strip(object, &format!("{place}{}", foreign.name))?;
    }
    let Some(path) = object.remove(PATH).filter(|path| !path.is_null()) else { return Ok(()) };
    let field = format!("{place}{PATH}");
    let invalid = |why: &str| Err(Fault::new(Code::InvalidField, format!("{field}: {why}")).at(field.clone()));
    if ["vfio", "vfio_user"].iter().any(|own| object.get(*own).is_some_and(|value| !value.is_null())) {
        return invalid("name a device once: by path, vfio or vfio_user");
    }
    match path.as_str().and_then(address_of) {
        Some(address) => {
            object.insert("vfio".to_owned(), json!({"address": address}));
            Ok(())
        }
        None => {
            let shown: String = path.to_string().chars().take(80).collect();
            invalid(&format!("{shown} is not a PCI function: write it such as /sys/bus/pci/devices/0000:41:00.3"))
        }
    }
}

/// The address of the PCI function that a path in sysfs ends in; see [`PATH_PATTERN`].
fn address_of(path: &str) -> Option<&str> {
    let (_, address) = path.trim_end_matches('/').rsplit_once('/')?;
    let shape = address.bytes().zip(*b"hhhh:hh:bh.o").all(|(byte, kind)| match kind {
        b'h' => byte.is_ascii_hexdigit(),
        b'b' => matches!(byte, b'0' | b'1'),
        b'o' => matches!(byte, b'0'..=b'7'),
        literal => byte == literal,
    });
    (shape && address.len() == 12).then_some(address)
}

fn object_mut<'a>(config: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    if name.is_empty() { config.as_object_mut() } else { config.get_mut(name)?.as_object_mut() }
}

impl ForeignField {
    /// Where it is: `memory.zones`.
    pub fn path(&self) -> String {
        match self.object {
            "" => self.name.to_owned(),
            DEVICES => format!("{DEVICES}[].{}", self.name),
            object => format!("{object}.{}", self.name),
        }
    }

    fn strip(&self, object: &mut Map<String, Value>, path: &str) -> Result<(), Fault> {
        let Some(value) = object.get(self.name) else { return Ok(()) };
        if !self.takes(value, object) {
            return Err(self.refusal(value, path));
        }
        object.remove(self.name);
        Ok(())
    }

    /// What is taken, for people.
    pub fn taken(&self) -> String {
        match self.accept {
            Accept::Absent => "null, false, []".to_owned(),
            Accept::On => "true, null".to_owned(),
            Accept::Anything => "anything".to_owned(),
            Accept::Texts([]) => "src /dev/urandom or /dev/random".to_owned(),
            Accept::Texts(texts) => texts.join(", "),
            Accept::Modes(modes) => format!("mode {}", modes.join(" or ")),
            Accept::AllOff => "all false or null".to_owned(),
            Accept::AtLeast(other) => format!("{other} or more"),
            Accept::Zero => "0, null".to_owned(),
        }
    }

    fn takes(&self, value: &Value, object: &Map<String, Value>) -> bool {
        if value.is_null() {
            return true;
        }
        let text_in = |value: Option<&Value>, texts: &[&str]| {
            value.and_then(Value::as_str).is_some_and(|text| texts.contains(&text))
        };
        match self.accept {
            Accept::Absent => value == &Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty),
            Accept::On => value == &Value::Bool(true),
            Accept::Anything => true,
            Accept::Texts([]) => text_in(value.get("src"), &["/dev/urandom", "/dev/random"]),
            Accept::Texts(texts) => text_in(Some(value), texts),
            Accept::Modes(modes) => text_in(value.get("mode"), modes),
            Accept::AllOff => {
                value.as_object().is_some_and(|all| all.values().all(|v| v.is_null() || v == &Value::Bool(false)))
            }
            Accept::AtLeast(other) => match (value.as_u64(), object.get(other).and_then(Value::as_u64)) {
                (Some(value), Some(least)) => value >= least,
                _ => false,
            },
            Accept::Zero => value.as_u64() == Some(0),
        }
    }

    fn refusal(&self, value: &Value, path: &str) -> Fault {
        let shown: String = value.to_string().chars().take(80).collect();
        let message = format!("{path}: {shown} is not supported here (taken: {}): {}", self.taken(), self.note);
        Fault::new(Code::UnsupportedField, message).at(path)
    }

    /// Its entry in the JSON schema.
    pub fn schema(&self) -> Value {
        let description = format!("Cloud Hypervisor's. Taken: {}. {}.", self.taken(), self.note);
        let mut schema = match self.accept {
            Accept::Absent => json!({"enum": [false, [], null]}),
            Accept::On => json!({"enum": [true, null]}),
            Accept::Anything => json!({}),
            Accept::Texts([]) => json!({
                "type": "object", "nullable": true, "required": ["src"],
                "properties": {"src": {"type": "string", "enum": ["/dev/urandom", "/dev/random"]}},
            }),
            Accept::Texts(texts) => {
                let values: Vec<_> = texts.iter().map(|t| json!(t)).chain([Value::Null]).collect();
                json!({"enum": values})
            }
            Accept::Modes(modes) => json!({
                "type": "object", "nullable": true, "required": ["mode"],
                "properties": {"mode": {"type": "string", "enum": modes}},
            }),
            Accept::AllOff => json!({
                "type": "object", "nullable": true, "additionalProperties": {"enum": [false, null]},
            }),
            Accept::AtLeast(_) => json!({"type": "integer", "nullable": true, "minimum": 1}),
            Accept::Zero => json!({"type": "integer", "nullable": true, "enum": [0, null]}),
        };
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(description));
        }
        schema
    }
}

#[cfg(test)]
#[path = "compat_tests.rs"]
mod tests;
