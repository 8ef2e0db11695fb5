//! Which addresses send what belongs to no gate: a forgotten gate is found by it.

use std::net::IpAddr;

/// Addresses listed at most.
const MOST: usize = 16;

/// The addresses that send most, by the method called space-saving: a newcomer takes the place, and the count, of the least.
/// What sends more than a sixteenth of all is always listed.
#[derive(Default)]
pub(super) struct Strangers(Vec<(IpAddr, u64)>);

impl Strangers {
    pub(super) fn add(&mut self, from: IpAddr) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == from) {
            *count += 1;
        } else if self.0.len() < MOST {
            self.0.push((from, 1));
        } else if let Some(least) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *least = (from, least.1 + 1);
        }
    }

    pub(super) fn most(&self) -> Vec<(IpAddr, u64)> {
        let mut all = self.0.clone();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_flood_of_addresses_neither_grows_the_list_nor_hides_who_sends_most() {
        let mut strangers = Strangers::default();
        let busy = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        for n in 0..10_000_u32 {
            strangers.add(Ipv4Addr::from(0xC000_0000 + n).into());
            strangers.add(busy);
        }
        let most = strangers.most();
        assert_eq!(most.len(), MOST);
        assert_eq!(most[0], (busy, 10_000));
    }
}
