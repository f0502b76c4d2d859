// SPDX-License-Identifier: Apache-2.0
//! Counters that are defined in a table: name and meaning stand there once, and reports, `vm.counters`, metrics and
//! documents come from it. Pure; counting never blocks.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::{Serialize, Serializer};

/// An event counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A metric, and its label for one counter.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The family.
    pub family: &'static Family,
    /// Value of the family's label.
    pub value: &'static str,
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Its label beside whose counter it is, if it has one.
    pub label: Option<&'static str>,
}

/// A table of counters: an enum that [`counter_kinds!`] defines.
pub trait CounterKind: Copy + 'static {
    /// All of them, in the order that reports have.
    const ALL: &'static [Self];
    /// Its place among them.
    fn index(self) -> usize;
    /// Its name in reports, `vm.counters` and metrics.
    fn name(self) -> &'static str;
    /// What it counts, for documents.
    fn text(self) -> &'static str;
    /// Its metric, where it has one of a family.
    fn metric(self) -> Option<Metric>;
}

/// Defines a table of counters: `"WHAT IT COUNTS" Variant = "name";` for each, with `as FAMILY "label's value"` before
/// the semicolon where it is a metric of a [`Family`].
#[macro_export]
macro_rules! counter_kinds {
    (@metric) => { None };
    (@metric $family:ident $value:literal) => { Some($crate::contract::Metric { family: &$family, value: $value }) };
    ($(#[$meta:meta])* $vis:vis enum $kinds:ident;
        $($text:literal $kind:ident = $name:literal $(as $family:ident $value:literal)?;)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $kinds {
            $(#[doc = $text] $kind,)+
        }

        impl $kinds {
            /// How many there are.
            pub const COUNT: usize = [$(Self::$kind),+].len();
        }

        impl $crate::contract::CounterKind for $kinds {
            const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$kind => $text,)+ }
            }

            fn metric(self) -> Option<$crate::contract::Metric> {
                match self { $(Self::$kind => $crate::contract::counter_kinds!(@metric $($family $value)?),)+ }
            }
        }
    };
}

pub use counter_kinds;

/// The counters of one table, to be counted on by several threads.
#[derive(Debug)]
pub struct Counters<K, const N: usize>([Counter; N], std::marker::PhantomData<K>);

impl<K, const N: usize> Default for Counters<K, N> {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()), std::marker::PhantomData)
    }
}

impl<K: CounterKind, const N: usize> Counters<K, N> {
    /// One more.
    pub fn add(&self, kind: K) {
        if let Some(counter) = self.0.get(kind.index()) {
            counter.add();
        }
    }

    /// The counts as they are; each for itself, not as of one moment.
    pub fn counts(&self) -> Counts<K, N> {
        Counts(self.0.each_ref().map(Counter::get), std::marker::PhantomData)
    }

    /// One of them.
    pub fn get(&self, kind: K) -> u64 {
        self.0.get(kind.index()).map_or(0, Counter::get)
    }
}

/// What the counters of one table came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<K, const N: usize>([u64; N], std::marker::PhantomData<K>);

impl<K, const N: usize> Default for Counts<K, N> {
    fn default() -> Self {
        Self([0; N], std::marker::PhantomData)
    }
}

impl<K: CounterKind, const N: usize> Counts<K, N> {
    /// From one count for each kind, in the order of the table.
    pub const fn new(counts: [u64; N]) -> Self {
        Self(counts, std::marker::PhantomData)
    }

    /// The same with `count` for `kind`, which somebody else counts.
    #[must_use]
    pub fn with(mut self, kind: K, count: u64) -> Self {
        if let Some(place) = self.0.get_mut(kind.index()) {
            *place = count;
        }
        self
    }

    /// One more.
    pub fn add(&mut self, kind: K) {
        if let Some(place) = self.0.get_mut(kind.index()) {
            *place += 1;
        }
    }

    /// How many of a kind.
    pub fn get(&self, kind: K) -> u64 {
        self.0.get(kind.index()).copied().unwrap_or(0)
    }

    /// Kind and count, in the order of the table.
    pub fn each(&self) -> impl Iterator<Item = (K, u64)> {
        K::ALL.iter().copied().zip(self.0)
    }

    /// Name and count, in the order of the table.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.each().map(|(kind, count)| (kind.name(), count))
    }
}

/// Name and count of each, as a map.
impl<K: CounterKind, const N: usize> Serialize for Counts<K, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.named())
    }
}
