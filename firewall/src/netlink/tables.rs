//! Tables as a whole, other people's too.

use std::io;

use super::nft;
use super::socket::Channel;

impl Channel {
    /// Whether our table of the family inet is there.
    pub fn has_table(&mut self) -> io::Result<bool> {
        match self.table_flags() {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The tables of the family inet, whosever they are, that have a set of this name.
    pub fn tables_with_set(&mut self, name: &str) -> io::Result<Vec<String>> {
        self.dump(nft::dump_every_set, |all, body| {
            let found = nft::read_set_names(body).filter(|(_, set)| *set == name);
            all.extend(found.map(|(table, _)| table.to_owned()));
        })
    }

    /// Removes our table of the family inet; that it is not there is no error.
    pub fn remove_table(&mut self) -> io::Result<()> {
        // What the kernel refuses it takes back slowly: it is asked first.
        if !self.has_table()? {
            return Ok(());
        }
        let mut batch = self.batch();
        batch.delete_table(nft::FAMILY_INET);
        match self.commit(batch) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }
}
