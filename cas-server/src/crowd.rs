//! How many connections are open, in all and from each address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::identity::PeerAddress;
use crate::metrics::{Limit, Metrics};

/// One address has at most this part of all connections: whoever is silent on all of his shuts nobody else out.
const ADDRESS_SHARE: u64 = 2;

/// How often it is said at most that connections are turned away.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Those who are connected.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    connections_max: u64,
    metrics: Arc<Metrics>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    count: u64,
    from: BTreeMap<IpAddr, u64>,
    warned: Option<Instant>,
}

impl Crowd {
    /// Returns nobody, of whom there may be so many.
    pub(crate) fn new(connections_max: u64, metrics: Arc<Metrics>) -> Self {
        Self { connections_max, metrics, open: Arc::default() }
    }

    /// Returns the room that a connection from there takes, if there is room.
    pub(crate) fn enter(&self, address: PeerAddress) -> Option<Room> {
        let from = house(address);
        let mut open = self.open();
        let alike = from.and_then(|it| open.from.get(&it).copied()).unwrap_or_default();
        if open.count >= self.connections_max || alike >= self.share() {
            self.turn_away(&mut open, address, alike);
            return None;
        }
        open.count += 1;
        if let Some(from) = from {
            open.from.insert(from, alike + 1);
        }
        Some(Room { crowd: self.clone(), from })
    }

    fn share(&self) -> u64 {
        self.connections_max.div_ceil(ADDRESS_SHARE)
    }

    fn turn_away(&self, open: &mut Open, address: PeerAddress, alike: u64) {
        self.metrics.limited(Limit::Connections);
        if open.warned.is_none_or(|it| it.elapsed() >= WARN_INTERVAL) {
            open.warned = Some(Instant::now());
            tracing::warn!(?address, open = open.count, alike, "connections are turned away");
        }
    }

    fn leave(&self, from: Option<IpAddr>) {
        let mut open = self.open();
        open.count -= 1;
        let Some(from) = from else { return };
        match open.from.get_mut(&from) {
            Some(alike) if *alike > 1 => *alike -= 1,
            _ => drop(open.from.remove(&from)),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }
}

/// The room that one connection takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    crowd: Crowd,
    from: Option<IpAddr>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.crowd.leave(self.from);
    }
}

/// Returns what stands for everybody who can have that address: of IPv6 the network, as each of its machines has as many
/// addresses as it likes. Who is on this machine needs none.
fn house(address: PeerAddress) -> Option<IpAddr> {
    let PeerAddress::Tcp(address) = address else { return None };
    Some(match address.ip().to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => (address.to_bits() >> 64 << 64).to_be_bytes().into(),
    })
}
