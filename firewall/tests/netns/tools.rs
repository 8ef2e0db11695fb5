//! What phones and servers do on the wire. Each prints one word or number.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::frames;

const PATIENCE: Duration = Duration::from_millis(1500);

pub fn run(words: &[&str]) {
    match words {
        ["serve"] => serve(),
        ["udp-send", host, port, count, size] => udp_send(address(host, port), number(count), number(size)),
        ["udp-ports", host, port, count] => udp_ports(address(host, port), number(count)),
        ["tcp-many", host, port, count] => println!("{}", tcp_many(address(host, port), number(count))),
        ["udp-ask", host, port, question] => println!("{}", udp_ask(address(host, port), question)),
        ["udp-try", host, port] => println!("{}", udp_try(address(host, port))),
        ["udp-try-from", own, host, port] => {
            println!("{}", udp_try_from(own.parse().expect("a port"), address(host, port)));
        }
        ["tcp-try", host, port] => println!("{}", tcp_try(address(host, port))),
        ["tcp-get", host, port, octets] => println!("{}", tcp_get(address(host, port), octets)),
        ["tcp-put", host, port, octets] => println!("{}", tcp_put(address(host, port), number(octets))),
        ["frames", interface, frames @ ..] => frames::send(interface, frames),
        ["tcp-hold", host, port] => tcp_hold(address(host, port)),
        other => panic!("no such tool: {other:?}"),
    }
}

/// A link-local address is said with its interface, as in `fe80::1%eth0`.
fn address(host: &str, port: &str) -> SocketAddr {
    let port = port.parse().expect("a port");
    let Some((host, interface)) = host.split_once('%') else {
        return SocketAddr::new(host.parse::<IpAddr>().expect("an address"), port);
    };
    let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).expect("the interface");
    let index = index.trim().parse().expect("a number");
    SocketAddrV6::new(host.parse().expect("an address"), port, 0, index).into()
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn any(peer: SocketAddr) -> &'static str {
    if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
}

/// Resets the server has seen on its chatty connections.
static RESETS: AtomicU32 = AtomicU32::new(0);

/// The whole internet.
fn serve() {
    let sink = UdpSocket::bind("[::]:7000").expect("sink");
    thread::spawn(move || {
        let (mut received, mut buffer) = (0u32, vec![0; 65536]);
        while let Ok((len, peer)) = sink.recv_from(&mut buffer) {
            match &buffer[..len] {
                b"?" => drop(sink.send_to(received.to_string().as_bytes(), peer)),
                _ => received += 1,
            }
        }
    });
    // One for each address, or the answers would come from another one than was asked.
    for host in [crate::lab::WEB4, crate::lab::WEB6] {
        let source = UdpSocket::bind((host, 7001)).expect("source");
        thread::spawn(move || serve_datagrams(&source));
    }
    for port in [80, 443, 5001] {
        let listener = TcpListener::bind(("::", port)).expect("listener");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || converse(stream));
            }
        });
    }
    println!("ready");
    loop {
        thread::park();
    }
}

fn serve_datagrams(source: &UdpSocket) {
    let mut buffer = [0; 64];
    while let Ok((len, peer)) = source.recv_from(&mut buffer) {
        let question = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let (count, size) = question.split_once(' ').expect("COUNT SIZE");
        let datagram = vec![7; number(size)];
        for _ in 0..number(count) {
            // Slow enough that no queue on the way overflows: the gate must be the only one who drops.
            thread::sleep(Duration::from_micros(20));
            let _ = source.send_to(&datagram, peer);
        }
    }
}

fn converse(mut stream: TcpStream) -> Option<()> {
    let mut line = String::new();
    BufReader::with_capacity(1, stream.try_clone().ok()?)
        .read_line(&mut line)
        .ok()?;
    match line.trim() {
        "resets" => stream
            .write_all(RESETS.load(Ordering::SeqCst).to_string().as_bytes())
            .ok(),
        "chatter" => loop {
            if let Err(error) = stream.write_all(b"tick") {
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
                    RESETS.fetch_add(1, Ordering::SeqCst);
                }
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        },
        "put" => std::io::copy(&mut stream, &mut std::io::sink()).ok().map(drop),
        octets => {
            let mut left = octets.parse::<usize>().ok()?;
            let block = vec![0; 65536];
            while left > 0 {
                let now = left.min(block.len());
                stream.write_all(&block[..now]).ok()?;
                left -= now;
            }
            Some(())
        }
    }
}

fn udp_send(peer: SocketAddr, count: usize, size: usize) {
    let socket = UdpSocket::bind(any(peer)).expect("socket");
    let datagram = vec![5; size];
    for _ in 0..count {
        thread::sleep(Duration::from_micros(20));
        let _ = socket.send_to(&datagram, peer);
    }
}

/// One datagram from each of so many ports.
fn udp_ports(peer: SocketAddr, count: usize) {
    for port in (10_000..).take(count) {
        let own = SocketAddr::new(any(peer).parse::<SocketAddr>().expect("an address").ip(), port);
        let socket = UdpSocket::bind(own).expect("socket");
        thread::sleep(Duration::from_micros(20));
        let _ = socket.send_to(b"one", peer);
    }
}

/// Connections that come to be and are held together, until one does not.
fn tcp_many(peer: SocketAddr, count: usize) -> usize {
    let connect = |_| TcpStream::connect_timeout(&peer, Duration::from_millis(500)).ok();
    let held: Vec<TcpStream> = (0..count).map_while(connect).collect();
    held.len()
}

/// Datagrams received until it has been silent for a while.
fn udp_ask(peer: SocketAddr, question: &str) -> u32 {
    let socket = UdpSocket::bind(any(peer)).expect("socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(400)))
        .expect("timeout");
    socket.send_to(question.as_bytes(), peer).expect("send");
    let (mut received, mut buffer) = (0, vec![0; 65536]);
    while socket.recv(&mut buffer).is_ok() {
        received += 1;
    }
    received
}

/// What becomes of one datagram.
fn udp_try(peer: SocketAddr) -> String {
    udp_try_from(0, peer)
}

/// The same from this port.
fn udp_try_from(own: u16, peer: SocketAddr) -> String {
    let own = SocketAddr::new(any(peer).parse::<SocketAddr>().expect("an address").ip(), own);
    let socket = UdpSocket::bind(own).expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket.connect(peer).expect("connect");
    let mut answer = [0; 512];
    match socket.send(b"question").and_then(|_| socket.recv(&mut answer)) {
        Ok(len) => String::from_utf8_lossy(&answer[..len]).into_owned(),
        Err(error) => outcome(error.kind()).to_owned(),
    }
}

fn outcome(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "silence",
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => "prohibited",
        _ => "failed",
    }
}

/// What becomes of a connection, or the first words of who answers.
fn tcp_try(peer: SocketAddr) -> String {
    match TcpStream::connect_timeout(&peer, PATIENCE) {
        Err(error) => outcome(error.kind()).to_owned(),
        Ok(mut stream) => {
            stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
            let _ = stream.write_all(b"5\n");
            let mut answer = [0; 64];
            match stream.read(&mut answer) {
                Ok(len) if answer[..len].iter().all(u8::is_ascii_alphabetic) => {
                    format!("answered {}", String::from_utf8_lossy(&answer[..len]))
                }
                Ok(_) => "answered".to_owned(),
                Err(error) => outcome(error.kind()).to_owned(),
            }
        }
    }
}

/// Octets that came of those asked for, until the end, a reset or a second of silence.
fn tcp_get(peer: SocketAddr, octets: &str) -> u64 {
    let Ok(mut stream) = TcpStream::connect_timeout(&peer, PATIENCE) else {
        return 0;
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(format!("{octets}\n").as_bytes()).expect("request");
    let (mut received, mut buffer) = (0, vec![0; 1 << 18]);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        received += len as u64;
    }
    received
}

/// Octets handed to the kernel of those to be sent.
fn tcp_put(peer: SocketAddr, octets: usize) -> usize {
    let Ok(mut stream) = TcpStream::connect_timeout(&peer, PATIENCE) else {
        return 0;
    };
    // A full send buffer takes seconds to drain at a plan's speed.
    stream.set_write_timeout(Some(PATIENCE * 10)).expect("timeout");
    stream.write_all(b"put\n").expect("request");
    let block = vec![0; 65536];
    let mut sent = 0;
    while sent < octets {
        match stream.write(&block) {
            Ok(len) => sent += len,
            Err(_) => break,
        }
    }
    sent
}

/// Has a chatty connection, and after a line on standard input says what became of it.
fn tcp_hold(peer: SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&peer, PATIENCE).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(b"chatter\n").expect("request");
    let mut buffer = [0; 64];
    stream.read_exact(&mut buffer[..4]).expect("a tick");
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("a line");
    // Ticks that were under way may still be read; then it lives on, or it does not.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let one = stream.write_all(b"x").and_then(|()| stream.read(&mut buffer));
        if let Err(error) = one {
            println!("{}", outcome(error.kind()));
            return;
        }
    }
    println!("alive");
}
