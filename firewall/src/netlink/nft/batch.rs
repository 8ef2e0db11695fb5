//! Changes in one transaction.

use super::{
    DELETE_ELEMENT, DELETE_OBJECT, DELETE_TABLE, Entry, FAMILY_ARP, FAMILY_INET, FAMILY_NONE, NEW_ELEMENT, NEW_OBJECT,
    NEW_TABLE, QUOTA_OBJECT, Quota, SUBSYSTEM, Table, element, elements, family_header,
};
use crate::netlink::wire::{self, Writer};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Changes that take effect together or not at all.
#[derive(Debug)]
pub struct Batch {
    table: Table,
    writer: Writer,
    /// Sequence number of the next message, for the error that names it.
    sequence: u32,
    last: usize,
    gathered: Option<Gathered>,
}

/// An attribute holds less than 64 KiB: beyond this a set's elements go on in another message.
const MOST_GATHERED_OCTETS: usize = 32 << 10;

/// Elements set by set, and what has to wait until no element points to it.
#[derive(Debug, Default)]
struct Gathered {
    deleted: Vec<(String, Writer)>,
    added: Vec<(String, Writer)>,
    quotas: Vec<String>,
}

impl Gathered {
    fn put(sets: &mut Vec<(String, Writer)>, set: &str, entry: &Entry) {
        let has_room = |elements: &Writer| elements.len() < MOST_GATHERED_OCTETS;
        let at = sets
            .iter()
            .position(|(known, elements)| known == set && has_room(elements));
        let at = at.unwrap_or_else(|| {
            sets.push((set.to_owned(), Writer::default()));
            sets.len() - 1
        });
        if let Some((_, elements)) = sets.get_mut(at) {
            elements.nest(1, |w| element(w, entry));
        }
    }
}

impl Batch {
    pub(super) fn new(table: Table, sequence: u32) -> Self {
        let mut writer = Writer::default();
        writer.message(BATCH_BEGIN, wire::REQUEST, sequence, |w| {
            family_header(w, FAMILY_NONE, SUBSYSTEM);
        });
        Self {
            table,
            writer,
            sequence: sequence.wrapping_add(1),
            last: 0,
            gathered: None,
        }
    }

    /// From now on the elements of a set go in one message, which the kernel takes in half the time. All that is deleted goes before all that is added,
    /// and quotas are made before and deleted after them, whatever the order in which they are asked for. An error names no element then.
    pub fn gather(&mut self) -> &mut Self {
        self.gathered.get_or_insert_default();
        self
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.push_in(FAMILY_INET, kind, flags, body);
    }

    /// The number of the next message, by which an error names it.
    pub fn next_number(&self) -> u32 {
        self.sequence
    }

    pub(in crate::netlink) fn push_in(&mut self, family: u8, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.last = self.writer.len();
        let Self {
            table,
            writer,
            sequence,
            ..
        } = self;
        writer.message(SUBSYSTEM << 8 | kind, wire::REQUEST | flags, *sequence, |w| {
            family_header(w, family, 0);
            w.string(1, &table.0);
            body(w);
        });
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Makes our table of this family with these flags; or, if it exists, gives it these.
    pub fn table(&mut self, family: u8, flags: u32) -> &mut Self {
        self.push_in(family, NEW_TABLE, wire::CREATE, |w| w.u32(2, flags));
        self
    }

    /// Removes our table of this family with all that is in it; the batch fails with `ENOENT` if it is not there.
    pub fn delete_table(&mut self, family: u8) -> &mut Self {
        self.push_in(family, DELETE_TABLE, 0, |_| {});
        self
    }

    /// Adds an element; the batch fails with `EEXIST` if its key is there.
    pub fn add(&mut self, set: &str, entry: &Entry) -> &mut Self {
        if let Some(Gathered { added, .. }) = &mut self.gathered {
            Gathered::put(added, set, entry);
            return self;
        }
        self.push(NEW_ELEMENT, wire::CREATE | wire::EXCLUSIVE, |w| {
            elements(w, set, std::slice::from_ref(entry));
        });
        self
    }

    /// Puts an element into a set of our table for ARP; one that is there stays as it is.
    pub fn add_of_arp(&mut self, set: &str, entry: &Entry) -> &mut Self {
        self.push_in(FAMILY_ARP, NEW_ELEMENT, wire::CREATE, |w| {
            elements(w, set, std::slice::from_ref(entry));
        });
        self
    }

    /// Deletes an element of a set of our table for ARP; the batch fails with `ENOENT` if its key is not there.
    pub fn delete_of_arp(&mut self, set: &str, key: &[u8]) -> &mut Self {
        let entry = Entry {
            key,
            ..Entry::default()
        };
        self.push_in(FAMILY_ARP, DELETE_ELEMENT, 0, |w| elements(w, set, &[entry]));
        self
    }

    /// Deletes an element; the batch fails with `ENOENT` if its key is not there.
    pub fn delete(&mut self, set: &str, key: &[u8]) -> &mut Self {
        let entry = Entry {
            key,
            ..Entry::default()
        };
        if let Some(Gathered { deleted, .. }) = &mut self.gathered {
            Gathered::put(deleted, set, &entry);
            return self;
        }
        self.push(DELETE_ELEMENT, 0, |w| elements(w, set, &[entry]));
        self
    }

    /// Makes a quota object; or, if it exists, gives it this limit and keeps what it has counted.
    pub fn quota(&mut self, quota: &Quota) -> &mut Self {
        self.push(NEW_OBJECT, wire::CREATE, |w| {
            w.string(2, &quota.name);
            w.u32(3, QUOTA_OBJECT);
            w.nest(4, |w| {
                w.u64(1, quota.limit_octets);
                w.u32(2, 0);
                w.u64(4, quota.used_octets);
            });
        });
        self
    }

    /// Deletes a quota object; fails with `EBUSY` while an element points to it.
    pub fn delete_quota(&mut self, name: &str) -> &mut Self {
        if let Some(Gathered { quotas, .. }) = &mut self.gathered {
            quotas.push(name.to_owned());
            return self;
        }
        self.push(DELETE_OBJECT, 0, |w| {
            w.string(2, name);
            w.u32(3, QUOTA_OBJECT);
        });
        self
    }

    /// The finished octets and the sequence number that acknowledges them; `None` if nothing is to be done.
    pub fn finish(mut self) -> Option<(Writer, u32)> {
        self.write_gathered();
        if self.last == 0 {
            return None;
        }
        self.writer.add_flag(self.last, wire::ACK);
        let last = self.sequence.wrapping_sub(1);
        self.writer.message(BATCH_END, wire::REQUEST, self.sequence, |w| {
            family_header(w, FAMILY_NONE, SUBSYSTEM);
        });
        Some((self.writer, last))
    }

    fn write_gathered(&mut self) {
        let Some(Gathered { deleted, added, quotas }) = self.gathered.take() else {
            return;
        };
        let deleted = deleted.into_iter().map(|one| (DELETE_ELEMENT, 0, one));
        let added = added
            .into_iter()
            .map(|one| (NEW_ELEMENT, wire::CREATE | wire::EXCLUSIVE, one));
        for (kind, flags, (set, elements)) in deleted.chain(added) {
            self.push(kind, flags, |w| {
                w.string(2, &set);
                w.nest(3, |w| w.append(&elements));
            });
        }
        for name in quotas {
            self.delete_quota(&name);
        }
    }
}
