//! What the core needs of the packet filter: narrow, so that tests move packets by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{ClassName, FilterName, Mac};
use kavadam_firewall::{FirewallError, Gate, Meter, OpenSession, Opening, PoolKey, SessionLimits, Slot};

/// Each method means what the [`Gate`]'s method of the same name means.
pub trait Kernel: Send + 'static {
    fn create_pool(&mut self, limit_octets: Option<u64>) -> Result<PoolKey, FirewallError>;
    fn set_pool_limits(&mut self, limits: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)>;
    fn open_all(&mut self, sessions: &[OpenSession]) -> Vec<Result<Slot, FirewallError>>;
    fn close_all(&mut self, slots: &BTreeSet<Slot>) -> Vec<(Slot, Result<Meter, FirewallError>)>;
    fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError>;
    fn limit_all(&mut self, wanted: &BTreeMap<Slot, SessionLimits>) -> Vec<(Slot, FirewallError)>;
    fn set_timeouts(&mut self, wanted: &BTreeMap<Slot, Option<Duration>>) -> Vec<(Slot, FirewallError)>;
    fn set_ipv4(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError>;
    fn has_filter(&self, filter: FilterName) -> bool;
    fn has_class(&self, class: ClassName) -> bool;
    fn pools_used_up(&mut self) -> Result<Vec<PoolKey>, FirewallError>;
}

impl Kernel for Arc<Gate> {
    fn create_pool(&mut self, limit_octets: Option<u64>) -> Result<PoolKey, FirewallError> {
        Gate::create_pool(self, limit_octets)
    }
    fn set_pool_limits(&mut self, limits: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)> {
        Gate::set_pool_limits(self, limits)
    }
    fn open_all(&mut self, sessions: &[OpenSession]) -> Vec<Result<Slot, FirewallError>> {
        Gate::open_all(self, sessions)
    }
    fn close_all(&mut self, slots: &BTreeSet<Slot>) -> Vec<(Slot, Result<Meter, FirewallError>)> {
        Gate::close_all(self, slots)
    }
    fn read(&mut self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        Gate::read(self, slots)
    }
    fn limit_all(&mut self, wanted: &BTreeMap<Slot, SessionLimits>) -> Vec<(Slot, FirewallError)> {
        Gate::limit_all(self, wanted)
    }
    fn set_timeouts(&mut self, wanted: &BTreeMap<Slot, Option<Duration>>) -> Vec<(Slot, FirewallError)> {
        Gate::set_timeouts(self, wanted)
    }
    fn set_ipv4(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) -> Result<(), FirewallError> {
        Gate::set_ipv4(self, slot, ipv4)
    }
    fn has_filter(&self, filter: FilterName) -> bool {
        Gate::has_filter(self, filter)
    }
    fn has_class(&self, class: ClassName) -> bool {
        Gate::has_class(self, class)
    }
    fn pools_used_up(&mut self) -> Result<Vec<PoolKey>, FirewallError> {
        Gate::pools_used_up(self)
    }
}

/// What the doors for names need of it.
pub trait Naming: Send + Sync + 'static {
    fn open_name(&self, open: Opening, address: IpAddr, stay: Duration) -> Result<(), FirewallError>;
    fn keep_names(&self, stay: Option<Duration>) -> Result<(), FirewallError>;
    fn filter_of(&self, mac: Mac) -> Option<FilterName>;
}

impl Naming for Arc<Gate> {
    fn open_name(&self, open: Opening, address: IpAddr, stay: Duration) -> Result<(), FirewallError> {
        Gate::open_name(self, open, address, stay)
    }
    fn keep_names(&self, stay: Option<Duration>) -> Result<(), FirewallError> {
        Gate::keep_names(self, stay)
    }
    fn filter_of(&self, mac: Mac) -> Option<FilterName> {
        Gate::filter_of(self, mac)
    }
}

/// What the keeper of leases needs of it.
pub trait Admission: Send + 'static {
    fn admit_lease(&self, mac: Mac, ipv4: Ipv4Addr, ttl: Option<Duration>) -> Result<(), FirewallError>;
    fn revoke_lease(&self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError>;
}

impl Admission for Arc<Gate> {
    fn admit_lease(&self, mac: Mac, ipv4: Ipv4Addr, ttl: Option<Duration>) -> Result<(), FirewallError> {
        Gate::admit_lease(self, mac, ipv4, ttl)
    }
    fn revoke_lease(&self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError> {
        Gate::revoke_lease(self, mac, ipv4)
    }
}
