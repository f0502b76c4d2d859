// SPDX-License-Identifier: Apache-2.0
//! One SMBIOS structure: a header, fixed fields, then its texts, which the fields name by number
//! (DSP0134, 6.1). Pure.

/// A structure under construction; fields are appended in the order of the specification.
pub(super) struct Structure {
    fields: Vec<u8>,
    texts: Vec<u8>,
    text_count: u8,
}

impl Structure {
    pub(super) fn new(kind: u8, handle: u16) -> Self {
        let [low, high] = handle.to_le_bytes();
        // The length comes at the end.
        Self { fields: vec![kind, 0, low, high], texts: Vec::new(), text_count: 0 }
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.fields.extend_from_slice(bytes);
        self
    }

    pub(super) fn word(self, word: u16) -> Self {
        self.bytes(&word.to_le_bytes())
    }

    pub(super) fn dword(self, dword: u32) -> Self {
        self.bytes(&dword.to_le_bytes())
    }

    pub(super) fn qword(self, qword: u64) -> Self {
        self.bytes(&qword.to_le_bytes())
    }

    /// The number of a text, from 1; an empty one is number 0, "not specified".
    pub(super) fn text(mut self, text: &str) -> Self {
        if text.is_empty() {
            return self.bytes(&[0]);
        }
        self.texts.extend_from_slice(text.as_bytes());
        self.texts.push(0);
        self.text_count += 1;
        let number = self.text_count;
        self.bytes(&[number])
    }

    /// Header, fields, texts. Two zero bytes end the structure also where it has no text.
    pub(super) fn finish(mut self) -> Vec<u8> {
        // No structure here has more than 42 bytes of fields.
        self.fields[1] = self.fields.len() as u8;
        self.fields.append(&mut self.texts);
        if self.text_count == 0 {
            self.fields.push(0);
        }
        self.fields.push(0);
        self.fields
    }
}
