//! Restarts that nobody is refused by: a service manager that keeps the ports, as systemd does.

use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::desk::Desk;

/// What systemd does with `FileDescriptorStoreMax=`: it hears the service, keeps what it hands over, and gives it to the next process.
struct Keeper {
    heard: UnixDatagram,
    path: std::path::PathBuf,
    kept: Vec<(String, OwnedFd)>,
}

impl Keeper {
    fn new(dir: &std::path::Path) -> Self {
        let path = dir.join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            heard,
            path,
            kept: Vec::new(),
        }
    }

    fn start(&mut self, desk: &Desk) -> Child {
        // The shell puts them at 3 and beyond, and becomes the program, whose number it knows.
        let lifted: Vec<OwnedFd> = self.kept.iter().map(|(_, fd)| lift(fd)).collect();
        let moves = (3..).zip(&lifted);
        let moves: Vec<String> = moves
            .map(|(to, fd)| format!("{to}<&{0} {0}<&-", fd.as_raw_fd()))
            .collect();
        let script = format!(
            "exec {}; LISTEN_PID=$$ LISTEN_FDS={} exec {} --config {} run",
            moves.join(" "),
            self.kept.len(),
            env!("CARGO_BIN_EXE_kavadam"),
            desk.config().display()
        );
        let child = Command::new("bash")
            .args(["-c", &script])
            .env("NOTIFY_SOCKET", &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.until_ready();
        child
    }

    fn until_ready(&mut self) {
        loop {
            let mut text = [0; 512];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut along = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                &self.heard,
                &mut [IoSliceMut::new(&mut text)],
                &mut along,
                RecvFlags::CMSG_CLOEXEC,
            )
            .unwrap();
            let said = String::from_utf8(text[..got.bytes].to_vec()).unwrap();
            let name = said.lines().find_map(|line| line.strip_prefix("FDNAME="));
            if said.starts_with("FDSTOREREMOVE=1") {
                self.kept.retain(|(known, _)| Some(known.as_str()) != name);
            }
            let fds = along.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            });
            for fd in fds.flatten() {
                assert!(said.starts_with("FDSTORE=1"), "{said}");
                let name = name.unwrap().to_owned();
                self.kept.retain(|(known, _)| *known != name);
                self.kept.push((name, fd));
            }
            if said == "READY=1" {
                return;
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.kept.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The same far from where the shell puts them, and open in it.
fn lift(fd: &OwnedFd) -> OwnedFd {
    let lifted = rustix::io::fcntl_dupfd_cloexec(fd, 100).unwrap();
    fcntl_setfd(&lifted, FdFlags::empty()).unwrap();
    lifted
}

/// Though nobody has read a word of it since it was ready.
fn end(mut child: Child) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: wifi\r\nConnection: close\r\n\r\n")
        .unwrap();
}

fn answer(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn free_ports() -> [u16; 3] {
    let udp = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let [auth, acct] = udp.each_ref().map(|socket| socket.local_addr().unwrap().port());
    [auth, acct, tcp.local_addr().unwrap().port()]
}

fn config([auth, acct, portal]: [u16; 3]) -> String {
    format!(
        "role = \"centre\"\n[sms]\nroute = \"log-nothing\"\n\
         [radius]\nauth_listen = \"127.0.0.1:{auth}\"\nacct_listen = \"127.0.0.1:{acct}\"\n\
         [portal]\nlisten = \"127.0.0.1:{portal}\"\npublic_url = \"http://127.0.0.1:{portal}\"\n"
    )
}

#[test]
fn who_comes_while_it_is_started_anew_waits_and_is_answered() {
    let ports = free_ports();
    let desk = Desk::with(&config(ports));
    let mut keeper = Keeper::new(desk.config().parent().unwrap());
    let first = keeper.start(&desk);
    let [auth, acct, portal] = ports;
    let names = [
        format!("udp-127.0.0.1_{auth}"),
        format!("udp-127.0.0.1_{acct}"),
        format!("tcp-127.0.0.1_{portal}"),
    ];
    assert_eq!(keeper.names(), names);
    end(first);

    // Nobody is there, and the port is open.
    let mut early = TcpStream::connect(("127.0.0.1", portal)).unwrap();
    ask(&mut early);
    let second = keeper.start(&desk);
    assert!(answer(early).starts_with("HTTP/1.1 "), "who came early was lost");
    assert_eq!(keeper.names().len(), 3);

    // Killed as by a power cut, with somebody waiting.
    let mut child = second;
    child.kill().unwrap();
    child.wait().unwrap();
    let mut early = TcpStream::connect(("127.0.0.1", portal)).unwrap();
    ask(&mut early);
    let third = keeper.start(&desk);
    assert!(answer(early).starts_with("HTTP/1.1 "));
    end(third);
}

#[test]
fn a_port_that_the_configuration_no_longer_has_is_closed() {
    let ports = free_ports();
    let desk = Desk::with(&config(ports));
    let mut keeper = Keeper::new(desk.config().parent().unwrap());
    end(keeper.start(&desk));
    let [auth, acct, portal] = ports;
    let other = free_ports()[2];
    let text = std::fs::read_to_string(desk.config()).unwrap();
    std::fs::write(desk.config(), text.replace(&portal.to_string(), &other.to_string())).unwrap();
    let child = keeper.start(&desk);
    let names = [
        format!("udp-127.0.0.1_{auth}"),
        format!("udp-127.0.0.1_{acct}"),
        format!("tcp-127.0.0.1_{other}"),
    ];
    let has_all = names.iter().all(|name| keeper.names().contains(&name.as_str()));
    assert!(has_all, "{:?}", keeper.names());
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", portal)).is_ok() {
        assert!(Instant::now() < until, "the old port is open");
        std::thread::sleep(Duration::from_millis(20));
    }
    end(child);
}
