//! To one of a server's addresses, whichever is there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kavadam_sockets::Lasting;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Shared;
use crate::tls::{UNACKNOWLEDGED, Version};

/// A connection whose handshake is done.
pub(super) struct Dialled {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) version: Version,
    pub(super) to: SocketAddr,
}

impl Shared {
    /// The address that is `last_of_all` comes after the others: the connection that was made to it came to nothing.
    pub(super) async fn dial(&self, last_of_all: Option<SocketAddr>) -> io::Result<Dialled> {
        let patience = self.config.times.connect;
        let found = timeout(patience, lookup_host(&self.config.address)).await;
        let found = found.map_err(|_| io::Error::other("looking up the name of the server takes too long"))??;
        let order = in_order(found, last_of_all);
        first_that_is_there(order, patience, |address| self.dial_at(address)).await
    }

    async fn dial_at(&self, to: SocketAddr) -> io::Result<Dialled> {
        let stream = TcpStream::connect(to).await?;
        // What the system refuses here is no reason to do without the server.
        _ = Lasting {
            unacknowledged: UNACKNOWLEDGED,
        }
        .set(&stream);
        let connector = TlsConnector::from(self.certificates.current());
        let stream = connector.connect(self.config.server_name.clone(), stream).await?;
        let agreed = self.config.versions.agreed(stream.get_ref().1.alpn_protocol());
        let version = agreed.ok_or_else(|| io::Error::other("no common version of RADIUS"))?;
        Ok(Dialled { stream, version, to })
    }
}

fn in_order(found: impl Iterator<Item = SocketAddr>, last_of_all: Option<SocketAddr>) -> Vec<SocketAddr> {
    let mut order: Vec<_> = found.collect();
    order.sort_by_key(|address| Some(*address) == last_of_all);
    order
}

/// Each address gets the whole patience: one that swallows everything takes nothing from those after it. If none is there, why the last is not.
async fn first_that_is_there<T, F>(
    addresses: Vec<SocketAddr>,
    patience: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut why = io::Error::other("the name of the server has no address");
    for address in addresses {
        match timeout(patience, attempt(address)).await {
            Ok(Ok(there)) => return Ok(there),
            Ok(Err(error)) => why = error,
            Err(_) => why = io::Error::other("it takes too long to connect"),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 2083).into()
    }

    /// The first swallows everything, the second refuses, the third shows a certificate of somebody else's, the fourth is there.
    async fn answer_of(address: SocketAddr) -> io::Result<SocketAddr> {
        let [.., last] = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets(),
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        match last {
            1 => std::future::pending().await,
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            3 => Err(io::Error::other("certificate of somebody else's")),
            _ => Ok(address),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_not_there_leaves_the_others_their_turn_and_their_time() {
        let began = Instant::now();
        let order = [1, 2, 3, 4].map(address).to_vec();
        let there = first_that_is_there(order, PATIENCE, answer_of).await;
        assert_eq!(there.unwrap(), address(4));
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
        let nobody = first_that_is_there([2, 3].map(address).to_vec(), PATIENCE, answer_of).await;
        assert_eq!(nobody.unwrap_err().to_string(), "certificate of somebody else's");
        let silence = first_that_is_there(vec![address(1)], PATIENCE, answer_of).await;
        assert_eq!(silence.unwrap_err().to_string(), "it takes too long to connect");
    }

    #[test]
    fn an_address_whose_connection_came_to_nothing_is_tried_after_the_others() {
        let found = || [1, 2, 3].map(address).into_iter();
        assert_eq!(in_order(found(), None), [1, 2, 3].map(address));
        assert_eq!(in_order(found(), Some(address(1))), [2, 3, 1].map(address));
        assert_eq!(in_order(found(), Some(address(9))), [1, 2, 3].map(address));
    }
}
