//! Several questions asked at once, each answered for itself.

use std::io;

use super::nft::{self, Quota};
use super::socket::{Channel, KEYS_PER_REQUEST, Received, errno_result, no_answer};
use super::wire::{self, Writer};

impl Channel {
    /// Whether each of these keys is in a set. All are asked for at once, as those that are not would end a question for several.
    pub fn has_elements(&mut self, set: &str, keys: &[Vec<u8>]) -> io::Result<Vec<bool>> {
        let table = self.table.clone();
        let mut is_there = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_REQUEST) {
            let requests = keys.iter().map(|key| {
                let table = &table;
                move |sequence| table.get_elements(nft::FAMILY_INET, set, &[key], sequence)
            });
            for errno in self.ask_all(requests, |_, _| {})? {
                is_there.push(errno != libc::ENOENT);
                if errno != libc::ENOENT {
                    errno_result(errno)?;
                }
            }
        }
        Ok(is_there)
    }

    /// Reads quota objects, as many as there are names.
    pub fn quotas(&mut self, names: &[String]) -> io::Result<Vec<Quota>> {
        let table = self.table.clone();
        let mut quotas = Vec::with_capacity(names.len());
        for names in names.chunks(KEYS_PER_REQUEST) {
            let requests = names.iter().map(|name| {
                let table = &table;
                move |sequence| table.get_quota(name, sequence)
            });
            let mut shown = vec![None; names.len()];
            let errnos = self.ask_all(requests, |at, body| {
                if let Some(shown) = shown.get_mut(at) {
                    *shown = table.read_quota(body);
                }
            })?;
            errnos.into_iter().try_for_each(errno_result)?;
            for quota in shown {
                quotas.push(quota.ok_or_else(no_answer)?);
            }
        }
        Ok(quotas)
    }

    /// Sends several requests, each of one message, at once, and passes on the bodies of their answers with the place of the request; returns their
    /// error numbers in order. That one is refused keeps no other from it.
    pub fn ask_all(
        &mut self,
        requests: impl IntoIterator<Item = impl FnOnce(u32) -> Writer>,
        mut each: impl FnMut(usize, &[u8]),
    ) -> io::Result<Vec<i32>> {
        let first = self.next_sequence();
        let mut all = Writer::default();
        let mut errnos = Vec::new();
        for (request, offset) in requests.into_iter().zip(0..) {
            all.append(&request(first.wrapping_add(offset)));
            errnos.push(None);
        }
        if errnos.is_empty() {
            return Ok(Vec::new());
        }
        self.send(&all)?;
        while errnos.contains(&None) {
            let received = self.receive(|message| {
                let at = usize::try_from(message.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                match errnos.get_mut(at) {
                    Some(errno) if message.kind == wire::ERROR => *errno = Some(message.errno()),
                    Some(_) => each(at, message.body),
                    None => {}
                }
                None::<()>
            })?;
            if matches!(received, Received::Nothing) {
                return Err(no_answer());
            }
        }
        Ok(errnos.into_iter().flatten().collect())
    }
}
