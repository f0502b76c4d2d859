// SPDX-License-Identifier: Apache-2.0
//! A file that is written for as long as a guest runs, and that a guest cannot make larger than its limit: a full one
//! is renamed to FILE.1, in place of the one before, and a new one begins.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{invalid, is_ours, older, open, suffixed};

/// Something that is written all the time. Files with a name are bounded; terminals, pipes, devices and descriptors of
/// others are not ours to rename.
pub struct Output {
    sink: Sink,
    place: Option<Place>,
    name: String,
}

enum Sink {
    File(File),
    Other(Box<dyn Write + Send>),
}

/// Where a bounded file is.
struct Place {
    path: PathBuf,
    /// Bytes; never 0.
    limit: u64,
    /// Bytes, as far as we know: others may cut it.
    size: u64,
}

impl Output {
    /// A file that begins empty. `limit` is in bytes; 0 is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let mut output = Self::append(path, limit)?;
        if let (Some(place), Sink::File(file)) = (&mut output.place, &output.sink) {
            file.set_len(0)?;
            place.size = 0;
        }
        Ok(output)
    }

    /// A file that keeps what it has.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn append(path: &Path, limit: u64) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        // Links are followed once: the file is what moves aside, not the link to it.
        let place = match is_ours(path, &metadata) {
            true => Some(Place {
                path: path.canonicalize()?,
                limit: if limit == 0 { u64::MAX } else { limit },
                size: metadata.len(),
            }),
            false => None,
        };
        Ok(Self { sink: Sink::File(file), place, name: path.display().to_string() })
    }

    /// Something that is open already, called `name` in messages.
    pub fn other(name: &str, sink: Box<dyn Write + Send>) -> Self {
        Self { sink: Sink::Other(sink), place: None, name: name.to_owned() }
    }

    /// Whether it is in the file system, so that others can find it.
    pub fn has_name(&self) -> bool {
        matches!(self.sink, Sink::File(_))
    }

    /// Makes room for `upcoming` bytes that are to stay together. `true`: a new file begins with them.
    ///
    /// # Errors
    /// When the file is full, and can neither be renamed nor cut.
    pub fn make_room(&mut self, upcoming: usize) -> io::Result<bool> {
        let (Some(place), Sink::File(file)) = (&mut self.place, &mut self.sink) else { return Ok(false) };
        if place.has_room(upcoming) {
            return Ok(false);
        }
        let metadata = file.metadata()?;
        place.size = metadata.len();
        if place.has_room(upcoming) {
            return Ok(false);
        }
        match place.turn(&metadata) {
            Ok(new) => {
                place.size = new.metadata()?.len();
                *file = new;
            }
            Err(error) => {
                tracing::warn!(
                    "{} is full and cannot be renamed to {} ({error}): its content is dropped, as --output-limit says",
                    place.path.display(),
                    older(&place.path).display()
                );
                file.set_len(0)?;
                place.size = 0;
            }
        }
        Ok(true)
    }

    /// The cause with the name of the file, unless trying again helps.
    fn named(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("{}: {error}", self.name)),
        }
    }
}

impl Place {
    /// An empty file takes whatever comes.
    fn has_room(&self, upcoming: usize) -> bool {
        self.size == 0 || self.size.saturating_add(upcoming as u64) <= self.limit
    }

    /// Renames the file, whose metadata is `old`, and begins a new one.
    fn turn(&self, old: &Metadata) -> io::Result<File> {
        match fs::symlink_metadata(&self.path) {
            Ok(here) if (here.dev(), here.ino()) == (old.dev(), old.ino()) => {}
            // Somebody else renamed or removed it: what has its name now goes on, or begins.
            Ok(here) if here.is_file() => return open(&self.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return open(&self.path),
            Ok(_) => return Err(invalid("something else has its name now")),
            Err(error) => return Err(error),
        }
        // The new one is there before the old one goes: without room for it, nothing happens.
        let aside = suffixed(&self.path, ".new");
        let _ = fs::remove_file(&aside);
        let new = open(&aside)?;
        let turned = new
            .set_permissions(old.permissions())
            .and_then(|()| fs::rename(&self.path, older(&self.path)))
            .and_then(|()| fs::rename(&aside, &self.path));
        if turned.is_err() {
            let _ = fs::remove_file(&aside);
        }
        turned.map(|()| new)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.make_room(bytes.len()).map_err(|error| self.named(error))?;
        let written = match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Other(sink) => sink.write(bytes),
        };
        match written {
            Ok(count) => {
                if let Some(place) = &mut self.place {
                    place.size = place.size.saturating_add(count as u64);
                }
                Ok(count)
            }
            Err(error) => Err(self.named(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(_) => Ok(()),
            Sink::Other(sink) => sink.flush(),
        }
    }
}
